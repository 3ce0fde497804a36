import type { Readable } from 'node:stream';
import type { FastifyReply } from 'fastify';
import { send } from '../../util/streams.ts';
import { privateHeaders } from '../plugins/credentials.ts';
import type { Exchange } from './exchange.ts';
import type { Headers } from './headers.ts';
import type { Sending } from './limits.ts';

/**
 * Writes a stream past Fastify, which allows its buffers to be reused.
 *
 * @throws what fails before the first byte; the response is as it was then
 */
export async function sendStream(
  { reply, observer }: Pick<Exchange, 'reply' | 'observer'>,
  stream: Readable,
  headers: Headers,
  { inspect, through }: Sending,
): Promise<void> {
  const response = reply.raw;
  response.on('close', () => stream.destroy());
  const begin = (): void => {
    if (!response.headersSent) writeHead(reply, headers);
  };
  const { sink, flushed } = through(response, begin);
  try {
    await send(stream, sink, (chunk) => {
      observer?.sent(chunk.length);
      inspect?.(chunk);
      reply.request.credentials?.opened();
      // While a throttled chunk waits, an error response can still replace it.
      if (sink === response) begin();
    });
    await flushed();
  } catch (error) {
    // A waiting chunk must not follow the problem that replaces the file.
    if (sink !== response) sink.destroy();
    if (!response.headersSent) throw error;
    // A broken download must look broken: fewer bytes than announced, and no end.
    response.destroy();
    reply.hijack();
    return;
  }
  reply.hijack();
  begin();
  response.end();
}

function writeHead(reply: FastifyReply, headers: Headers): void {
  const all = { ...(reply.getHeaders() as Headers), ...headers, ...privateHeaders(reply.request) };
  reply.raw.writeHead('content-range' in headers ? 206 : 200, all);
}
