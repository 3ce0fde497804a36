import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { whyNot } from '../test/support/packages.ts';
import { temporaryFolder } from '../test/support/temporary-folder.ts';
import { startOverTls } from './dockerproxy-over-tls.ts';
import type { RowId } from './figures.ts';
import { runMetered } from './metered-command.ts';
import { residentBytes } from './server-meter.ts';
import type { Stage } from './stage.ts';
import type { Measurement, Way } from './ways.ts';

/** Starts per measurement. The kernel counts in hundredths of a second, and a process may take less. */
const STARTS = 10;
/** Milliseconds after which an idle server has completed its startup. */
const IDLE_MS = 5_000;

/** Compares the packaged command line with an empty program and skopeo. */
export function cliWays(stage: Stage, repetitions: number): Way[] {
  const { program, small } = stage.commandLine;
  const node = process.execPath;
  const save = ['save', '--insecure-registries', stage.registry.host, small];
  const way = (id: RowId, absent: string | undefined, argv: (folder: string) => string[]): Way => ({
    ids: [id],
    absent,
    repetitions,
    measure: async () => [await startMany(stage, id, argv)],
  });
  const skopeo = [
    'skopeo',
    '--insecure-policy',
    'copy',
    '--quiet',
    '--src-tls-verify=false',
    '--src-no-creds',
  ];
  return [
    way('node-start', undefined, () => [node, '--eval', '']),
    way('cli-version', undefined, () => [node, program, '--version']),
    way('cli-check-config', undefined, () => [node, program, 'check-config']),
    way('skopeo-version', whyNot('skopeo'), () => ['skopeo', '--version']),
    way('save-small', undefined, (folder) => [node, program, ...save, '-o', join(folder, 'image.tar')]),
    way('skopeo-small', whyNot('skopeo'), (folder) => [
      ...skopeo,
      `docker://${small}:latest`,
      `oci-archive:${join(folder, 'image-$i.tar')}`,
    ]),
    { ids: ['save-cold', 'save-again', 'save-uncached'], repetitions, measure: () => saveAll(stage) },
  ];
}

/** Runs a command several times. `$i` in a word becomes the number of the run. */
async function startMany(
  { signal, commandLine: { env } }: Stage,
  id: RowId,
  argv: (folder: string) => string[],
): Promise<Measurement> {
  await using folder = await temporaryFolder();
  const words = argv(folder.path).map((word) => `"${word}"`);
  const script = `i=0; while [ $i -lt ${STARTS} ]; do ${words.join(' ')} >/dev/null 2>&1 || exit; i=$((i+1)); done`;
  const all = await runMetered('sh', ['-c', script], { signal, env });
  const [seconds, cpuSeconds] = [all.seconds / STARTS, all.cpuSeconds / STARTS];
  const milliseconds = (value: number): string => `${Math.round(value * 1000)} ms`;
  return {
    id,
    figures: { seconds, imageBytes: 0, cpuSeconds },
    note: `${milliseconds(seconds)}, ${milliseconds(cpuSeconds)} of CPU`,
  };
}

/** Saves the image to a file: with an empty cache, again, and without a cache. */
async function saveAll({ signal, commandLine, registry, image }: Stage): Promise<Measurement[]> {
  await using folder = await temporaryFolder();
  const { program, env } = commandLine;
  const cache = ['--cache-dir', join(folder.path, 'cache')];
  const save = async (id: RowId, flags: string[]): Promise<Measurement> => {
    const output = ['--output', join(folder.path, 'image.tar')];
    const reference = `${registry.host}/${image.repository}`;
    const args = ['save', '--insecure-registries', registry.host, ...flags, ...output, reference];
    const { seconds, cpuSeconds, peakBytes } = await runMetered(process.execPath, [program, ...args], {
      signal,
      env,
    });
    return { id, figures: { seconds, imageBytes: image.bytes, cpuSeconds, peakBytes } };
  };
  return [
    await save('save-cold', cache),
    await save('save-again', cache),
    await save('save-uncached', ['--cache-size', '0']),
  ];
}

/** Measures the memory of the processes of an idle server. */
export function idleWays(stage: Stage): Way[] {
  return ([1, 2] as const).map((workers) => {
    const id = workers === 1 ? 'dockerproxy-idle' : 'dockerproxy-idle-2';
    return {
      ids: [id],
      repetitions: 1,
      async measure() {
        await using folder = await temporaryFolder();
        const began = performance.now();
        await using proxy = await startOverTls(stage, folder, { DOCKERPROXY_WORKERS: `${workers}` });
        const seconds = (performance.now() - began) / 1000;
        await pause(IDLE_MS, undefined, { signal: stage.signal });
        const peakBytes = residentBytes(proxy.pid);
        const note = `listens after ${seconds.toFixed(2)} s`;
        return [{ id, figures: { seconds, imageBytes: 0, peakBytes }, note }];
      },
    };
  });
}
