import { Readable } from 'node:stream';
import type { FastifyInstance } from 'fastify';
import { parseStatusQuery } from '../../download/query.ts';
import type { QueryString } from '../../download/read-parameters.ts';
import { credentialFor } from '../plugins/credentials.ts';
import { catalogued } from '../problems/plugin.ts';
import { problem } from '../problems/problem.ts';
import { abortOnDisconnect } from '../protocol/client-abort.ts';
import { createEventStream } from './event-stream.ts';
import { downloadLimits } from './limits.ts';
import type { DownloadOptions } from './route.ts';

const HEADERS = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-store',
  // nginx would buffer the events.
  'x-accel-buffering': 'no',
};

/**
 * `GET /dl/status?myimage=REF` reports the progress of a slow archive as server-sent events: `queued`, `pulling`,
 * `saving` and, at the end, `ready` or `error`. The request itself starts the work, as a download does.
 */
export async function statusRoutes(
  app: FastifyInstance,
  { source, allowlist, limits }: Pick<DownloadOptions, 'source' | 'allowlist' | 'limits'>,
): Promise<void> {
  app.route<{ Querystring: QueryString }>({
    method: 'GET',
    url: '/dl/status',
    config: { counts: 'requests' },
    handler: async (request, reply) => {
      const query = parseStatusQuery(request.query);
      for (const reference of query.references) allowlist.check(reference);
      // Prepare no archive for HEAD, which reads no events. Without a stream, Fastify would state a Content-Length.
      if (request.method === 'HEAD') return reply.headers(HEADERS).send(Readable.from([]));
      const gone = abortOnDisconnect(reply);
      const allowance = downloadLimits(limits, request, gone);
      const credential = await credentialFor(request, query.references);
      await allowance.takeSlot(query);
      const events = createEventStream();
      const watch = async (): Promise<void> => {
        try {
          const { filename, size, digests } = await source.open(
            {
              ...query,
              credential,
              reading: allowance.reading(query),
              onProgress: ({ stage, ...rest }) => events.sendSoon(stage, rest),
            },
            gone,
          );
          events.send('ready', { filename, size, digests });
        } catch (error) {
          if (gone.aborted) return;
          const plain = catalogued(error as Error);
          const known = (await request.credentials?.explain(plain)) ?? plain;
          if (known.code === 'internal-error')
            request.log.error({ err: error, url: request.url }, known.message);
          events.send('error', problem(known, app.explainProblem?.(known, request.raw)));
        }
        events.end();
      };
      watch();
      return reply.headers(HEADERS).send(events.body);
    },
  });
}
