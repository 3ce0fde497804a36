import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { request as httpRequest, type IncomingHttpHeaders, type RequestOptions } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { pipeline } from 'node:stream/promises';

export interface HttpRequest {
  method?: string;
  headers?: Record<string, string>;
  /** A file is streamed with its Content-Length, so that its size is never held in memory. */
  body?: Uint8Array | { path: string };
}

export interface HttpResponse {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer;
}

/** One request to a part of our own, whose certificate need not be trusted; follows no redirect. */
export async function httpCall(url: string | URL, call: HttpRequest = {}): Promise<HttpResponse> {
  const { method = 'GET', headers = {}, body = new Uint8Array() } = call;
  const isFile = 'path' in body;
  const length = isFile ? (await stat(body.path)).size : body.length;
  const target = new URL(url);
  const options: RequestOptions & { rejectUnauthorized?: boolean } = {
    method,
    headers: { ...headers, ...(method === 'GET' || method === 'HEAD' ? {} : { 'content-length': length }) },
    ...(target.protocol === 'https:' ? { rejectUnauthorized: false } : {}),
    // A connection of its own: one kept alive can die under us when the server is restarted.
    agent: false,
  };
  const request = target.protocol === 'https:' ? httpsRequest(target, options) : httpRequest(target, options);
  const answered = new Promise<HttpResponse>((resolve, reject) => {
    request.once('error', reject).once('response', (response) => {
      const chunks: Buffer[] = [];
      response
        .on('data', (chunk: Buffer) => chunks.push(chunk))
        .once('error', reject)
        .once('end', () => {
          const { statusCode: status = 0, headers } = response;
          resolve({ status, headers, body: Buffer.concat(chunks) });
        });
    });
  });
  if (!isFile) request.end(body);
  // A server may answer and close before it took the whole body; its answer tells more than the EPIPE.
  else pipeline(createReadStream(body.path, { highWaterMark: 256 * 1024 }), request).catch(() => {});
  return answered;
}
