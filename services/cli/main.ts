import { runCommand } from './command.ts';
import { describeFailure } from './failure.ts';

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
process.exit(exitCode);
