"""Targets by name, and the machine at hand."""

from __future__ import annotations

import pytest

from ocompress.errors import UsageError
from ocompress.targets import NAMES, Arch, find, host

VNNI = "processor : 0\nflags\t\t: fpu avx2 avx512f avx512_vnni\n"
AVX2 = "flags : fpu sse4_1 avx2\n"
ARM = "Features\t: fp asimd asimddp i8mm\n"


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_found(name: str) -> None:
    target = find(name)
    assert target.name == name
    assert set(target.int8_costs) <= set(target.float_costs) | {"enter", "leave"}


def test_an_unknown_name_is_refused_with_the_list() -> None:
    with pytest.raises(UsageError, match=r"did you mean 'x86-vnni'.*portable"):
        find("x86-vnn")


@pytest.mark.parametrize(
    ("cpuinfo", "machine", "arch"),
    [
        (VNNI, "x86_64", Arch.X86_64),
        (AVX2, "AMD64", Arch.X86_64),
        (ARM, "aarch64", Arch.AARCH64),
        ("", "riscv64", Arch.ANY),
    ],
)
def test_a_machine_is_described_and_treated_with_care(
    cpuinfo: str, machine: str, arch: Arch
) -> None:
    target = host(cpuinfo, machine)
    assert (target.name, target.arch) == ("host", arch)
    assert target.is_host
    assert target.saturates  # what is made here may run where pairs clip


def test_features_are_read_as_words() -> None:
    assert host(ARM, "arm64").features == {"neon", "dotprod", "i8mm"}
    assert host("flags : avx2x xavx2\n", "x86_64").features == frozenset()


def test_portable_is_safe_everywhere_and_vnni_multiplies_faster() -> None:
    assert find("portable").saturates
    fast, slow = find("x86-vnni"), find("x86-avx2")
    assert fast.int8_costs["Conv.dense"].macs_per_ns > slow.int8_costs["Conv.dense"].macs_per_ns
    assert not fast.saturates
