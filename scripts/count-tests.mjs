// Reads vitest's JSON report and prints `PASSED FAILED SKIPPED`. A report that is missing, or a file that could not be
// loaded, is a failure: a run that tested nothing must not look like a good one.
import { existsSync, readFileSync } from 'node:fs';

const [file = ''] = process.argv.slice(2);
const counts = { passed: 0, failed: 0, skipped: 0 };

if (existsSync(file)) {
  const report = JSON.parse(readFileSync(file, 'utf8'));
  for (const suite of report.testResults) countSuite(suite);
  if (counts.passed + counts.failed + counts.skipped === 0) counts.failed = 1;
} else {
  counts.failed = 1;
}
console.log(counts.passed, counts.failed, counts.skipped);

function countSuite(suite) {
  for (const { status } of suite.assertionResults) {
    if (status === 'passed') counts.passed += 1;
    else if (status === 'failed') counts.failed += 1;
    else counts.skipped += 1;
  }
  const hasFailedTest = suite.assertionResults.some(({ status }) => status === 'failed');
  if (suite.status === 'failed' && !hasFailedTest) counts.failed += 1;
}
