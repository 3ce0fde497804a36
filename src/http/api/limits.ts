import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import type { Static } from 'typebox';
import type { Limits } from '../../limits/limits.ts';
import type { RequestLimit } from '../../limits/request-limit.ts';
import { clientOf, LIMITS_URL } from '../plugins/limits.ts';
import { problemResponses } from '../problems/problem-schema.ts';
import { Type } from '../schema.ts';

const count = (description: string) => Type.Integer({ minimum: 0, description });

const rate = (counted: string, description: string) =>
  Type.Union(
    [
      Type.Object({
        limit: count(`${counted} in a window, including failed requests.`),
        remaining: count('Requests left in the current window.'),
        resetsInSeconds: count('Seconds until the next window.'),
        windowSeconds: count('Seconds of a window.'),
      }),
      Type.Null(),
    ],
    { description },
  );

/** The limits of a client and their remaining quota. */
export const ClientLimits = Type.Object(
  {
    client: Type.String({
      description: 'Who is counted as one client: an IPv4 address or an IPv6 network, `2001:db8::/64`.',
    }),
    requests: rate('Requests', 'Requests for downloads and the API; null without a limit.'),
    pages: rate('Requests', 'Requests for pages, their assets, and this endpoint; null without a limit.'),
    downloads: Type.Union(
      [Type.Object({ limit: count('Downloads at once.'), active: count('Those under way.') }), Type.Null()],
      { description: 'Downloads at once, however many connections each has; null without a limit.' },
    ),
    connections: Type.Union([Type.Object({ limit: count('Connections for one download.') }), Type.Null()], {
      description: 'Connections for each download; null without a limit.',
    }),
    bytes: Type.Union(
      [
        Type.Object({
          limit: count('Bytes in 24 hours.'),
          remaining: count('Those that are left.'),
          resetsInSeconds: count('Seconds until all are left again.'),
        }),
        Type.Null(),
      ],
      { description: 'Bytes of downloads a day; null without a limit.' },
    ),
    bandwidth: Type.Union([Type.Object({ limit: count('Bytes per second.') }), Type.Null()], {
      description: 'Bandwidth of all downloads together; null without a limit.',
    }),
  },
  { description: 'What a client may have of this service, and what it has left.' },
);

/** `GET /api/v1/limits`: what the client that asks has left. */
export const limitsRoutes: FastifyPluginAsyncTypebox<{ limits: Limits }> = async (app, { limits }) => {
  app.get(
    LIMITS_URL,
    {
      schema: {
        operationId: 'getLimits',
        summary: 'Remaining quota of the client',
        description:
          'Counts as a page, not as a request: it is also answered past the limits that it reports.',
        tags: ['API'],
        querystring: Type.Object({}, { additionalProperties: false }),
        response: { 200: ClientLimits, ...problemResponses },
      },
    },
    async (request, reply) =>
      reply.header('cache-control', 'no-store').send(await clientLimits(limits, clientOf(request))),
  );
};

async function clientLimits(
  { requests, pages, downloads, bytes, bandwidth }: Limits,
  client: string,
): Promise<Static<typeof ClientLimits>> {
  const sent = await bytes?.read(client);
  return {
    client,
    requests: await readRate(requests, client),
    pages: await readRate(pages, client),
    downloads:
      downloads.perClient === 0
        ? null
        : { limit: downloads.perClient, active: await downloads.active(client) },
    connections: downloads.connections === 0 ? null : { limit: downloads.connections },
    bytes:
      bytes && sent
        ? {
            limit: bytes.limit,
            remaining: Math.max(bytes.limit - sent.value, 0),
            resetsInSeconds: seconds(sent.resetsIn),
          }
        : null,
    bandwidth: bandwidth === undefined ? null : { limit: bandwidth.rate },
  };
}

async function readRate(
  limit: RequestLimit | undefined,
  client: string,
): Promise<Static<typeof ClientLimits>['requests']> {
  if (limit === undefined) return null;
  const { value, resetsIn } = await limit.read(client);
  return {
    limit: limit.limit,
    remaining: Math.max(limit.limit - value, 0),
    resetsInSeconds: seconds(resetsIn),
    windowSeconds: seconds(limit.window),
  };
}

function seconds(milliseconds: number): number {
  return Math.ceil(milliseconds / 1000);
}
