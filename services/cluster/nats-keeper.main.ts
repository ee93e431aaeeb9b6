// Runs nats-server for `dogwatch cluster up`, and ends it when whoever started this is gone, even by SIGKILL.
import { spawn } from 'node:child_process';

const [command = '', ...args] = process.argv.slice(2);
const server = spawn(command, args, { stdio: ['ignore', 'inherit', 'inherit'] });
const stop = (): void => void server.kill('SIGTERM');

process.on('SIGTERM', stop);
process.once('disconnect', stop);
if (process.connected === false) stop();
server.once('exit', (code) => process.exit(code ?? 1));
server.once('error', (error) => {
  process.stderr.write(`cannot start ${command}: ${error.message}\n`);
  process.exit(1);
});
