/**
 * Runs in a thread, and measures the work to read each text that it receives. Here, V8 counts few functions. In the
 * process of many tests, it would search a large heap for each text.
 */
import { Session } from 'node:inspector/promises';
import { parentPort } from 'node:worker_threads';
import { HOST } from './pastes.ts';

/** The work for a text. */
export interface Work {
  /** How often V8 entered a block of the modules that read pasted texts: each call and each iteration counts. */
  readonly steps: number;
  /** The characters that regular expressions passed. */
  readonly read: number;
}

const session = new Session();
session.connect();
await session.post('Profiler.enable');
// V8 counts the blocks of functions that it compiles from now on.
await session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
const { parsePaste } = await import('../../web/paste.js');
await parsePaste('docker pull nginx', HOST);

export interface Task {
  readonly text: string;
  /** False if the characters are not counted, which takes most of the time for a long text. */
  readonly isReadCounted: boolean;
}

parentPort?.on('message', async ({ text, isReadCounted }: Task) => {
  await session.post('Profiler.takePreciseCoverage');
  const parse = () => parsePaste(text, HOST);
  let read = 0;
  if (isReadCounted) read = await charactersRead(parse);
  else await parse();
  const { result } = await session.post('Profiler.takePreciseCoverage');
  const blocks = result
    .filter(({ url }) => /\/web\/paste[\w-]*\.js$/.test(url))
    .flatMap(({ functions }) => functions.flatMap(({ ranges }) => ranges));
  const work: Work = { steps: blocks.reduce((sum, { count }) => sum + count, 0), read };
  parentPort?.postMessage(work);
});

/** Counts the characters that regular expressions pass, whatever method of a string or an expression runs them. */
async function charactersRead(work: () => Promise<unknown>): Promise<number> {
  const { exec } = RegExp.prototype;
  let read = 0;
  RegExp.prototype.exec = function (this: RegExp, text: string) {
    const start = this.global || this.sticky ? this.lastIndex : 0;
    const match = exec.call(this, text);
    if (match) read += match.index + match[0].length - start;
    else read += this.sticky ? 1 : text.length - start;
    return match;
  };
  try {
    await work();
  } finally {
    RegExp.prototype.exec = exec;
  }
  return read;
}
