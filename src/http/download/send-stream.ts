import type { Readable } from 'node:stream';
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
  response.once('close', () => stream.destroy());
  response.statusCode = 'content-range' in headers ? 206 : 200;
  const all = Object.entries({
    ...reply.getHeaders(),
    ...headers,
    ...privateHeaders(reply.request),
  });
  for (const [name, value] of all) if (value !== undefined) response.setHeader(name, value);
  const { sink, flushed } = through(response);
  try {
    await send(stream, sink, (chunk) => {
      observer?.sent(chunk.length);
      inspect?.(chunk);
      reply.request.credentials?.opened();
    });
    await flushed();
  } catch (error) {
    // A waiting chunk must not follow the problem that replaces the file.
    if (sink !== response) sink.destroy();
    if (!response.headersSent) {
      for (const [name] of all) response.removeHeader(name);
      throw error;
    }
    // A broken download must look broken: fewer bytes than announced, and no end.
    response.destroy();
    reply.hijack();
    return;
  }
  reply.hijack();
  response.end();
}
