"""One process: import Tokenmill, load, answer one token; print when each stage ended."""

import json
import sys
import time

stages = {"interpreter": time.monotonic()}
from tokenmill import LLM, SamplingParams  # noqa: E402

stages["import"] = time.monotonic()
llm = LLM(sys.argv[1], threads=int(sys.argv[2]))
stages["load"] = time.monotonic()
with llm.stream(sys.argv[3], SamplingParams(temperature=0.0, max_tokens=1)) as stream:
    next(stream)
stages["first_token"] = time.monotonic()
sys.stdout.write(json.dumps(stages) + "\n")
