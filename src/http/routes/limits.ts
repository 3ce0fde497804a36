import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { type Static, Type } from 'typebox';
import type { Limits } from '../../policy/limits.ts';
import { clientOf, LIMITS_URL } from '../plugins/limits.ts';
import { problemResponses } from '../problem-schema.ts';

const count = (description: string) => Type.Integer({ minimum: 0, description });

/** What a client has left. */
export const ClientLimits = Type.Object(
  {
    client: Type.String({
      description: 'Who is counted as one client: an IPv4 address or an IPv6 network, `2001:db8::/64`.',
    }),
    requests: Type.Union(
      [
        Type.Object({
          limit: count('Requests in a window, misses included.'),
          remaining: count('Those that are left in this one.'),
          resetsInSeconds: count('Seconds until the next window.'),
          windowSeconds: count('Seconds of a window.'),
        }),
        Type.Null(),
      ],
      { description: 'Requests for downloads and the API; null without a limit.' },
    ),
    downloads: Type.Union(
      [Type.Object({ limit: count('Downloads at once.'), active: count('Those under way.') }), Type.Null()],
      { description: 'Downloads at once, however many connections each has; null without a limit.' },
    ),
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
  },
  { description: 'What a client may have of this service, and what it has left.' },
);

/** `GET /api/v1/limits`: what the client that asks has left. */
export const limitsRoutes: FastifyPluginAsyncTypebox<{ limits: Limits }> = async (app, { limits }) => {
  app.get(
    LIMITS_URL,
    {
      schema: {
        summary: 'What is left of your limits',
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
  { requests, downloads, bytes }: Limits,
  client: string,
): Promise<Static<typeof ClientLimits>> {
  const asked = await requests?.read(client);
  const sent = await bytes?.read(client);
  return {
    client,
    requests:
      requests && asked
        ? {
            limit: requests.limit,
            remaining: Math.max(requests.limit - asked.value, 0),
            resetsInSeconds: seconds(asked.resetsIn),
            windowSeconds: seconds(requests.window),
          }
        : null,
    downloads:
      downloads.perClient === 0
        ? null
        : { limit: downloads.perClient, active: await downloads.active(client) },
    bytes:
      bytes && sent
        ? {
            limit: bytes.limit,
            remaining: Math.max(bytes.limit - sent.value, 0),
            resetsInSeconds: seconds(sent.resetsIn),
          }
        : null,
  };
}

function seconds(milliseconds: number): number {
  return Math.ceil(milliseconds / 1000);
}
