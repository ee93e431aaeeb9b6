import { setTimeout as sleep } from 'node:timers/promises';
import { runCommand } from './command.ts';
import { describeFailure } from './failure.ts';

const SHORT_LIVED_S = 5;
const REST_MS = 100;

// What nobody caught ends the process here, for Node would print every field of the error, headers included.
process.on('uncaughtException', (error) => {
  process.stderr.write(describeFailure(error).text);
  process.exit(1);
});

const exitCode = await runCommand(process.argv.slice(2), {
  env: process.env,
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
});
// At its exit Node waits for its compiler threads, and one of them may wait for a collection only this thread can make
// (nodejs/node#54918): seen once, for good. A loop at rest makes it, and gives them nothing more to compile.
if (process.uptime() > SHORT_LIVED_S) await sleep(REST_MS);
process.exit(exitCode);
