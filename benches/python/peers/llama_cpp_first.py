"""One process: import llama-cpp-python, load, answer one token; print when each stage ended."""

import json
import sys
import time

stages = {"interpreter": time.monotonic()}
import llama_cpp  # noqa: E402

stages["import"] = time.monotonic()
threads = int(sys.argv[2])
llm = llama_cpp.Llama(sys.argv[1], n_threads=threads, n_threads_batch=threads, verbose=False)
stages["load"] = time.monotonic()
llm.create_completion(sys.argv[3], max_tokens=1, temperature=0.0)
stages["first_token"] = time.monotonic()
sys.stdout.write(json.dumps(stages) + "\n")
