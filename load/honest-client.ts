import { get, type IncomingMessage } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { setTimeout as pause } from 'node:timers/promises';
import type { HostileRegistry } from '../test/support/hostile-registry.ts';

/** A client that downloads normal images within the limits, and retries like wget. */
export interface HonestClient {
  /** Downloads once. Returns true if the image arrived completely. */
  download(): Promise<boolean>;
  /** Downloads one image after the other. Returns the times of the whole downloads, in milliseconds since the call. */
  downloadUntil(ended: AbortSignal): Promise<{ readonly whole: number[]; readonly refusals: number }>;
}

/** Images; more than one, so that some are new to the cache. */
const IMAGES = 20;
/** Milliseconds between two requests: the rate of requests of a client is limited. */
const PAUSE_MS = 1_100;
const PATIENCE_MS = 20_000;

/**
 * @param localAddress on loopback
 * @param patience milliseconds after which the client gives up a download
 */
export function createHonestClient(
  origin: URL,
  registry: HostileRegistry,
  localAddress: string,
  patience = PATIENCE_MS,
): HonestClient {
  let count = 0;
  const download = async (): Promise<boolean> => {
    const repository = `honest/${count++ % IMAGES}`;
    const url = new URL(`/dl?myimage=${registry.host}/${repository}`, origin);
    const layer = registry.honest(repository).layers[0]?.content as Uint8Array;
    try {
      const response = await new Promise<IncomingMessage>((resolve, reject) => {
        get(url, { localAddress, agent: false, signal: AbortSignal.timeout(patience) })
          .once('error', reject)
          .once('response', resolve);
      });
      const body = await buffer(response);
      return response.statusCode === 200 && response.complete && body.includes(Buffer.from(layer));
    } catch {
      return false;
    } finally {
      await pause(PAUSE_MS);
    }
  };
  return {
    download,
    async downloadUntil(ended) {
      const begun = performance.now();
      const whole: number[] = [];
      let refusals = 0;
      while (!ended.aborted) {
        if (await download()) whole.push(performance.now() - begun);
        else refusals += 1;
      }
      return { whole, refusals };
    },
  };
}
