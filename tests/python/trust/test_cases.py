"""The list of bad inputs against the tests there are: every case that applies has a test at every
door.
"""

import json
import subprocess
import sys

import pytest

from trust import evidence, fuzz


@pytest.fixture(scope="module")
def python_tests(repository):
    """Every Python test, as pytest names it."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "tests/python"]
    listed = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=200)
    assert listed.returncode == 0, listed.stdout[-2000:]
    return [line for line in listed.stdout.splitlines() if "::" in line]


@pytest.fixture(scope="module")
def doors(python_tests):
    """Pairs of case and door that some test is for."""
    named = evidence.data()["named"]
    found = {
        (case, "rust") for name in evidence.rust_names() for case in evidence.cases_of(name, named)
    }
    for line in python_tests:
        path, _, name = line.partition("::")
        door = evidence.door_of(path, name)
        found |= {(case, door) for case in evidence.cases_of(name, {})}
    return found


def test_every_number_of_the_list_has_one_place():
    data = evidence.data()
    numbers = [case for entry in (*data["group"], *data["absent"]) for case in entry["cases"]]
    assert sorted(numbers) == list(range(1, 125))


def test_every_case_that_applies_has_a_test_at_every_door(doors):
    missing = [
        (case, door)
        for group in evidence.data()["group"]
        for case in group["cases"]
        for door in group["doors"]
        if (case, door) not in doors
    ]
    assert missing == []


def test_every_named_test_and_every_planted_one_exists():
    names = [*evidence.rust_names(), "asan_reports_a_planted_read_of_freed_memory"]
    data = evidence.data()
    ends = [end for tests in data["named"].values() for end in tests]
    ends += [end for entry in data["planted"] for end in entry["tests"]]
    assert [end for end in ends if not any(name.endswith(end) for name in names)] == []
    assert all(evidence.planted_count(entry) > 0 for entry in data["planted"])


def test_the_page_is_of_this_list(repository):
    page = (repository / "docs" / "trust.md").read_text("utf-8")
    for group in evidence.data()["group"]:
        (line,) = [row for row in page.splitlines() if row.startswith(f"| {group['title']} |")]
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        count = len(group["cases"])
        assert cells[1] == str(count), line
        for door, cell in zip(("rust", "python", "cli"), cells[2:], strict=True):
            if door in group["doors"]:
                assert cell == f"{count} of {count}", line


def test_every_fault_of_the_list_has_a_test(python_tests):
    names = [*python_tests, *evidence.rust_names()]
    found = {fault for name in names for fault in evidence.faults_of(name.rpartition("::")[2])}
    assert set(evidence.data()["faults"]) <= found


def test_every_fuzz_target_has_a_corpus_and_a_run_on_record():
    recorded = {run.target for run in fuzz.runs()}
    for target in fuzz.targets():
        assert list((fuzz.CORPORA / target).iterdir()), target
        assert target in recorded


def test_a_deleted_test_a_failed_one_and_one_that_did_not_run_are_noticed(tmp_path):
    log = (
        "test a::case_070_x ... ok\ntest case_71_case_72_y ... FAILED\n"
        "test case_073_z ... ignored, why\ntest case_074 - should panic ... ok\n"
    )
    outcomes = list(evidence.of_libtest(log))
    assert evidence.shown(outcomes) == {
        (70, "rust"): True, (71, "rust"): False, (72, "rust"): False, (74, "rust"): True,
    }  # fmt: skip
    report = tmp_path / "python.xml"
    report.write_text(
        "<testsuites><testsuite>"
        '<testcase classname="tests.python.cli.test_x" name="test_case_110_a"/>'
        '<testcase classname="tests.python.cases.test_m" name="test_cli_door[case_081_b]">'
        "<failure/></testcase>"
        '<testcase classname="tests.python.cases.test_m" name="test_python_door[case_081_b]"/>'
        '<testcase classname="tests.python.api.test_y" name="test_case_119"><skipped/></testcase>'
        "</testsuite></testsuites>"
    )
    assert evidence.shown(evidence.of_junit(report)) == {
        (110, "cli"): True, (81, "cli"): False, (81, "python"): True,
    }  # fmt: skip
    assert evidence.faults_of("test_case_123_f07_x") == {"f07"}
    assert evidence.faults_of("f13_y") == {"f13"}
    assert evidence.faults_of("case_104_of07_y") == set()


def test_the_record_of_fuzzing_can_be_read_and_says_that_the_canary_was_found():
    lines = fuzz.RECORD.read_text("utf-8").splitlines()
    assert [json.loads(line)["target"] for line in lines] == [run.target for run in fuzz.runs()]
    assert all(run.findings == 1 for run in fuzz.runs() if run.target == fuzz.CANARY)
