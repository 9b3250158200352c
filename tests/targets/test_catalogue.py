"""Targets by name, and the machine at hand."""

from __future__ import annotations

import pytest

from ocompress.errors import UsageError
from ocompress.targets import NAMES, Arch, Target, find, host

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


@pytest.mark.parametrize(
    ("flags", "features"),
    [
        ("avx2", {"avx2"}),
        ("avx2 avx_vnni", {"avx2", "vnni"}),
        ("avx2 avx512f avx512_vnni", {"avx2", "avx512", "vnni"}),
        ("avx2 avx512f amx_int8", {"avx2", "avx512", "amx"}),
    ],
)
def test_every_feature_of_x86_is_known_by_its_flag(flags: str, features: set[str]) -> None:
    found = host(f"flags : fpu {flags}\n", "x86_64")
    assert found.features == features
    named = find("x86-vnni" if "vnni" in features else "x86-avx2")
    assert found.int8_costs == named.int8_costs


@pytest.mark.parametrize(
    ("target", "multiple"),
    [
        (find("portable"), 8),
        (find("arm64"), 8),
        (find("x86-avx2"), 8),
        (host("flags : avx2 avx_vnni\n", "x86_64"), 8),
        (find("x86-avx512"), 16),
        (find("x86-vnni"), 16),
        (host(VNNI, "x86_64"), 16),
    ],
)
def test_registers_of_avx512_hold_sixteen_channels(target: Target, multiple: int) -> None:
    assert target.channel_multiple == multiple


def test_portable_is_safe_everywhere_and_vnni_multiplies_faster() -> None:
    assert find("portable").saturates
    fast, slow = find("x86-vnni"), find("x86-avx2")
    assert fast.int8_costs["Conv.dense"].macs_per_ns > slow.int8_costs["Conv.dense"].macs_per_ns
    assert not fast.saturates
