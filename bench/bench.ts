/** `npm run bench`: DockerProxy and its peers, on this machine, with one image. */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { whyNot } from '../test/support/packages.ts';
import { drawCharts } from './charts.ts';
import { cliWays, idleWays } from './cli-ways.ts';
import { contentsWays } from './contents-ways.ts';
import { dockerProxyWays } from './dockerproxy-ways.ts';
import { engineWay } from './engine-way.ts';
import { describeEnvironment, describeImage } from './environment.ts';
import { rowNames } from './figures.ts';
import { nginxWays } from './nginx-ways.ts';
import { peerWays } from './peer-ways.ts';
import { pullWays } from './pull-ways.ts';
import { redisWays } from './redis-way.ts';
import { formatReport, type Report, writeOutput } from './report.ts';
import { shapedWays } from './shaped-ways.ts';
import { sharedFetchWays } from './shared-fetch-ways.ts';
import { slowClientsWay } from './slow-clients-way.ts';
import { setStage } from './stage.ts';
import { compare } from './targets.ts';
import { tlsRegistryWay } from './tls-registry-way.ts';
import { takeTurns } from './ways.ts';
import { workersWays } from './workers-way.ts';

const usualMegabytes = 500;
const repetitions = 3;
const output = join(import.meta.dirname, '..', 'test', 'output');

const help = `Measures DockerProxy against docker, skopeo and nginx, and prints a table.

npm run bench -- [--only TEXT] [--json FILE] [--svg FILE]

  --only TEXT   the lines alone whose name has it, such as workers or small
  --json FILE   the figures; test/output/bench.json by default
  --svg FILE    the picture; test/output/bench.svg by default

BENCH_MB is the size of the image in megabytes, ${usualMegabytes} by default.
`;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      only: { type: 'string', default: '' },
      json: { type: 'string', default: join(output, 'bench.json') },
      svg: { type: 'string', default: join(output, 'bench.svg') },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return void process.stdout.write(help);
  const megabytes = Number(process.env.BENCH_MB ?? usualMegabytes);
  if (!(megabytes >= 1)) throw new Error('BENCH_MB is no number of megabytes');
  for (const part of ['docker-registry', 'curl', 'openssl'] as const) {
    const reason = whyNot(part);
    if (reason) throw new Error(`nothing can be measured: ${reason}`);
  }
  const report = await withInterruption((signal) => measure(megabytes * 1e6, values.only, signal));
  await writeOutput(values.json, `${JSON.stringify(report, undefined, 2)}\n`);
  await writeOutput(values.svg, drawCharts(report));
  process.stdout.write(`\n${formatReport(report)}\n\nAlso in ${values.json} and ${values.svg}\n`);
}

async function measure(bytes: number, only: string, signal: AbortSignal): Promise<Report> {
  log(`making an image of ${bytes / 1e6} MB`);
  await using stage = await setStage(bytes, signal);
  const ways = [
    ...dockerProxyWays(stage, repetitions),
    tlsRegistryWay(stage, repetitions),
    engineWay(stage),
    ...nginxWays(stage, repetitions),
    ...peerWays(stage, repetitions),
    ...sharedFetchWays(stage),
    slowClientsWay(stage),
    ...shapedWays(stage),
    ...workersWays(stage, repetitions),
    ...redisWays(stage, repetitions),
    ...pullWays(stage, repetitions),
    ...cliWays(stage, repetitions),
    ...idleWays(stage),
    ...contentsWays(stage),
  ];
  const wanted = ways.filter(({ ids }) => ids.some((id) => rowNames[id].includes(only)));
  if (wanted.length === 0) throw new Error(`no line has ${only} in its name`);
  const rows = await takeTurns(wanted, signal, log);
  const inOrder = Object.keys(rowNames).flatMap((id) => rows.filter((row) => row.id === id));
  const image = describeImage(stage.image);
  return { ...(await describeEnvironment()), image, rows: inOrder, targets: compare(inOrder) };
}

/**
 * Ctrl-C and SIGTERM end the running command, and then the normal cleanup follows. The listeners stay registered, so
 * that a second Ctrl-C does not interrupt the cleanup.
 */
async function withInterruption<T>(task: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const interruption = new AbortController();
  const abort = () => interruption.abort(new Error('Interrupted; everything has ended and is removed.'));
  process.on('SIGINT', abort).on('SIGTERM', abort);
  try {
    return await task(interruption.signal);
  } catch (error) {
    // Ctrl-C reaches all processes, so a running command may fail before the interruption is seen.
    throw interruption.signal.aborted ? interruption.signal.reason : error;
  } finally {
    process.off('SIGINT', abort).off('SIGTERM', abort);
  }
}

/** Progress goes to stderr, because stdout is for results. */
const log = (line: string): void => void process.stderr.write(`${line}\n`);

try {
  await main();
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : error}\n`);
  process.exitCode = 1;
}
