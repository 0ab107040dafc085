"""What records say of a processor."""

import torch

from benchmark.common.machine import model_in, processor

CPUINFO = "processor : 0\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\n\nprocessor : 1\nmodel : 99\n"


def test_processors_of_one_name_are_told_apart_by_family_and_model() -> None:
    assert model_in(CPUINFO) == "AMD EPYC (family 25, model 17)"
    assert model_in("model name : Cortex") == "Cortex"
    assert model_in("Hardware : none") == ""
    assert model_in("") == ""


def test_a_record_says_the_instructions_and_the_threads_that_round() -> None:
    assert torch.backends.cpu.get_cpu_capability() in processor()
    assert processor().endswith(f"{torch.get_num_threads()} thread{'s' * (torch.get_num_threads() > 1)}")
