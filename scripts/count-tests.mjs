// Counts what vitest's JSON reports say.
//   count-tests.mjs REPORT [AGAIN]    `PASSED FAILED SKIPPED`; files in AGAIN, a later run, replace those of REPORT
//   count-tests.mjs --failed REPORT   the files with failures, a line each
//   count-tests.mjs --names REPORT    the failed tests, a line each
// A report that is missing, or a file that could not be loaded, is a failure: a run that tested nothing must not look
// like a good one.
import { existsSync, readFileSync } from 'node:fs';
import { relative } from 'node:path';

const flags = process.argv.slice(2).filter((word) => word.startsWith('--'));
const [first, again] = process.argv
  .slice(2)
  .filter((word) => !word.startsWith('--'))
  .map(suitesOf);

if (flags.includes('--failed')) print(failedOf(first).map(fileOf));
else if (flags.includes('--names')) print(failedOf(first).flatMap(failedNames));
else console.log(...count(first, again));

function suitesOf(file) {
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')).testResults : [];
}

function failedOf(suites) {
  return suites.filter((suite) => count([suite])[1] > 0);
}

function failedNames(suite) {
  const names = suite.assertionResults.filter(({ status }) => status === 'failed').map(({ fullName }) => fullName);
  return (names.length > 0 ? names : ['(the file itself)']).map((name) => `${fileOf(suite)}: ${name}`);
}

function fileOf({ name }) {
  return relative(process.cwd(), name);
}

function count(suites, later = []) {
  const replaced = new Set(later.map(({ name }) => name));
  const total = [0, 0, 0];
  for (const suite of [...suites.filter(({ name }) => !replaced.has(name)), ...later]) {
    for (const { status } of suite.assertionResults) total[status === 'passed' ? 0 : status === 'failed' ? 1 : 2] += 1;
    const hasFailedTest = suite.assertionResults.some(({ status }) => status === 'failed');
    if (suite.status === 'failed' && !hasFailedTest) total[1] += 1;
  }
  if (total.every((number) => number === 0)) total[1] = 1;
  return total;
}

function print(lines) {
  for (const line of lines) console.log(line);
}
