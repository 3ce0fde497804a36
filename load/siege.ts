import process from 'node:process';
import { setTimeout as pause } from 'node:timers/promises';
import { memoryOf } from '../bench/proc.ts';
import { formatTargets } from '../bench/table.ts';
import type { Target } from '../bench/targets.ts';
import { workersOf } from '../test/cluster/processes.ts';
import { createControlGroup } from '../test/support/control-group.ts';
import { DEFAULT_LIMITS, startDockerProxy } from '../test/support/dockerproxy.ts';
import { startDroppingListener } from '../test/support/dropping-listener.ts';
import { startHostileRegistry } from '../test/support/hostile-registry.ts';
import { reservePort } from '../test/support/reserve-port.ts';
import { type Attack, createAttacks } from './attacks.ts';
import { createHonestClient } from './honest-client.ts';

/** The duration of all attacks, and the number of concurrent clients of each. */
const seconds = Number(process.env.SIEGE_SECONDS ?? 60);
const clients = Number(process.env.SIEGE_CLIENTS ?? 4);
const LIMIT = Number(process.env.SIEGE_MIB ?? 512) * 2 ** 20;
/** Milliseconds after which a client gives up and starts again. */
const PATIENCE_MS = 15_000;
/** Requests from one client address before the next one: few enough for the limits. */
const REQUESTS_PER_ADDRESS = 10;
/** Milliseconds within which the service must recover. */
const RECOVERY_MS = 60_000;

await using group = await createControlGroup(LIMIT);
if (group === undefined) {
  process.stdout.write(
    'No control group: the kernel or the permissions of this user allow none. Memory is not limited.\n',
  );
}
await using registry = await startHostileRegistry();
await using dropping = await startDroppingListener();
await using proxy = await startDockerProxy({
  via: group?.via ?? [],
  env: {
    ...DEFAULT_LIMITS,
    DOCKERPROXY_WORKERS: '2',
    // A port of the kernel's choice would change when all workers end at once.
    DOCKERPROXY_PORT: String(await reservePort()),
    DOCKERPROXY_LOG_LEVEL: 'info',
    DOCKERPROXY_INSECURE_REGISTRIES: `${registry.host},${dropping.host}`,
  },
});
process.stdout.write(
  `All attacks for ${seconds} s on a primary and 2 workers within ${LIMIT / 2 ** 20} MiB …\n\n`,
);
const origin = new URL(proxy.url);
const attacks = createAttacks({ origin, registry, droppingHost: dropping.host }).filter(
  ({ name }) => !process.env.SIEGE_ONLY || new RegExp(process.env.SIEGE_ONLY).test(name),
);
const workers = workersOf(proxy);
const honest = createHonestClient(origin, registry, '127.0.0.2');
await honest.download();

const end = new AbortController();
const ended = end.signal;
setTimeout(() => end.abort(), seconds * 1000);
const memory: number[] = [];
const watch = setInterval(() => memory.push(group?.used() ?? residentBytes()), 250);
const tallies = new Map(attacks.map(({ name }) => [name, new Map<number | undefined, number>()]));
const honestWork = honest.downloadUntil(ended);
await Promise.all(
  attacks.map((attack, kind) =>
    Promise.all(Array.from({ length: clients }, (_, client) => besiege(attack, kind, client))),
  ),
);
const { whole, refusals } = await honestWork;
clearInterval(watch);
const recovery = await recovered();

for (const [name, tally] of tallies) {
  const counts = [...tally].map(([status, count]) => `${status ?? 'ended'}: ${count}`).join(', ');
  process.stdout.write(`${name.padEnd(52)} ${counts}\n`);
}
const errors = proxy.logs().filter(({ level }) => level >= 50);
for (const { msg } of errors.slice(0, 5)) process.stdout.write(`${msg}\n`);
const targets: Target[] = [
  target('processes that the kernel killed', group?.kills() ?? 0, '0', (value) => value === 0),
  target(
    'workers that ended',
    workers.filter((pid) => !workersOf(proxy).includes(pid)).length,
    '0',
    (value) => value === 0,
  ),
  target('errors in the log', errors.length, '0', (value) => value === 0),
  target('honest downloads during the attacks', whole.length, 'any', () => true),
  target('quarters of the time with an honest download', quartersOf(whole), '4', (value) => value === 4),
  target('refusals to the honest client', refusals, 'any', () => true),
  target('MiB of memory at most', Math.max(...memory) / 2 ** 20, 'any', () => true),
  target('honest downloads of 20 afterwards', recovery, '20', (value) => value === 20),
];
process.stdout.write(`\n${formatTargets(targets)}\n`);
if (targets.some(({ reached }) => reached === false)) process.exitCode = 1;

/** Repeats an attack from changing addresses until the end. */
async function besiege(attack: Attack, kind: number, client: number): Promise<void> {
  const tally = tallies.get(attack.name) ?? new Map();
  for (let count = 0; !ended.aborted; count++) {
    const address = Math.floor(count / REQUESTS_PER_ADDRESS);
    const from = `127.${10 + kind}.${client}.${1 + (address % 250)}`;
    const patience = new AbortController();
    const timer = setTimeout(() => patience.abort(), PATIENCE_MS);
    const signal = AbortSignal.any([ended, patience.signal]);
    const status = await attack.send(from, count * clients + client, signal);
    clearTimeout(timer);
    tally.set(status, (tally.get(status) ?? 0) + 1);
  }
}

/** Waits until a download succeeds at once, and counts how many of 20 then do. */
async function recovered(): Promise<number> {
  const deadline = performance.now() + RECOVERY_MS;
  while (!(await honest.download()) && performance.now() < deadline) await pause(500);
  let count = 0;
  for (let at = 0; at < 20; at++) if (await honest.download()) count += 1;
  return count;
}

/** Counts the quarters of the siege in which at least one of the times lies. The number of times depends on the cores. */
function quartersOf(times: number[]): number {
  return new Set(times.map((time) => Math.min(3, Math.floor(time / (seconds * 250))))).size;
}

function residentBytes(): number {
  return [proxy.pid, ...workersOf(proxy)].reduce((sum, pid) => sum + memoryOf(pid, 'VmRSS'), 0);
}

function target(name: string, value: number, wanted: string, isReached: (value: number) => boolean): Target {
  return { name, value: String(Math.round(value * 10) / 10), wanted, reached: isReached(value) };
}
