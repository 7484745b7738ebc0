"""Print what the test runs' JUnit files say: what was measured, a line each, and in one line how it went.

python tests/summary.py FILE.xml ...
"""

import sys
from xml.etree import ElementTree

if __name__ == "__main__":
    suites = [suite for path in sys.argv[1:] for suite in ElementTree.parse(path).iter("testsuite")]
    for suite in suites:
        for measured in suite.findall(".//property[@name='measured']"):
            print(measured.get("value"))
    total = {
        key: sum(float(suite.get(key)) for suite in suites)
        for key in ("tests", "failures", "errors", "skipped", "time")
    }
    failed = total["failures"] + total["errors"]
    passed = total["tests"] - failed - total["skipped"]
    counts = f"{passed:.0f} passed, {failed:.0f} failed, {total['skipped']:.0f} skipped"
    print(f"{counts}; {total['time'] / 60:.1f} min of tests")
