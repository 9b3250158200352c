"""JUnit XML, the form of test results that CI systems show."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from ocompress.validation import Check


def junit(name: str, checks: Sequence[Check]) -> str:
    """Return one test suite with a test case per check.

    Args:
        name: Name of the suite, such as the file that was checked.
        checks: What was required, and whether it holds.
    """
    failed = sum(not c.passed for c in checks)
    counts = {"tests": str(len(checks)), "failures": str(failed), "errors": "0"}
    root = ET.Element("testsuites", {"name": "ocompress", **counts})
    suite = ET.SubElement(root, "testsuite", {"name": name, **counts})
    for check in checks:
        case = ET.SubElement(suite, "testcase", {"classname": "ocompress.gate", "name": check.name})
        if not check.passed:
            failure = ET.SubElement(case, "failure", {"message": check.message or check.name})
            failure.text = f"limit {check.limit}, found {check.value}"
        elif check.message:
            ET.SubElement(case, "system-out").text = check.message
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"
