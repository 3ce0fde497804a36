import type { ServerResponse } from 'node:http';
import type { Readable } from 'node:stream';
import type { Fault, ProxiedRequest } from './fault-proxy.ts';

/** Forwards the body with its faults. The response ends completely or is destroyed. */
export async function damage(
  source: Readable,
  response: ServerResponse,
  record: ProxiedRequest,
  faults: Fault[],
): Promise<void> {
  const flip = faults.find((fault) => fault.kind === 'flip');
  const stop = faults.find((fault) => fault.kind === 'cut' || fault.kind === 'stall');
  let limit = stop?.after ?? Number.POSITIVE_INFINITY;
  const gone = closed(response);
  response.flushHeaders();
  try {
    for await (const chunk of source as AsyncIterable<Buffer>) {
      if (flip) invert(chunk, flip.at - record.sent);
      const head = chunk.subarray(0, limit - record.sent);
      await send(response, head, record, gone);
      if (head.length === chunk.length && record.sent < limit) continue;
      if (stop?.kind === 'cut') return cut(response, record);
      await Promise.race([stop?.until ?? gone, gone]);
      limit = Number.POSITIVE_INFINITY;
      await send(response, chunk.subarray(head.length), record, gone);
    }
    response.end();
  } catch {
    // If the registry or the client disconnects, the body must not look complete.
    response.destroy();
  }
}

/** Closes the connection under the response. */
export function cut(response: ServerResponse, record: ProxiedRequest): void {
  record.state = 'cut by proxy';
  response.destroy();
}

function invert(chunk: Buffer, at: number): void {
  const byte = chunk[at];
  if (byte !== undefined) chunk[at] = byte ^ 1;
}

/** Resolves when the bytes are with the kernel, so that a cut afterwards does not take them back. */
async function send(
  response: ServerResponse,
  bytes: Uint8Array,
  record: ProxiedRequest,
  gone: Promise<void>,
): Promise<void> {
  if (bytes.length === 0) return;
  const written = new Promise<void>((resolve) => response.write(bytes, () => resolve()));
  await Promise.race([written, gone]);
  if (response.destroyed) throw new Error('the client has gone');
  record.sent += bytes.length;
}

/** One listener for the whole body: a race that attaches its own for each chunk would pile them up. */
async function closed(response: ServerResponse): Promise<void> {
  if (response.destroyed) return;
  await new Promise<void>((resolve) => response.once('close', () => resolve()));
}
