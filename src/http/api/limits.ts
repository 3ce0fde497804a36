import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { LIMIT_KINDS, type Limits } from '../../limits/limits.ts';
import { Type } from '../../util/schema.ts';
import { clientOf } from '../plugins/limits.ts';
import { problemResponses } from '../problems/problem-schema.ts';

type Kind = (typeof LIMIT_KINDS)[number];

/** The limits of a client and their remaining quota; a limit that is not set is null. */
export type ClientLimits = { readonly client: string } & {
  readonly [Each in Kind as Each['name']]: Readonly<Record<keyof Each['members'], number>> | null;
};

export const ClientLimits = Type.Unsafe<ClientLimits>(
  Type.Object(
    {
      client: Type.String({
        description:
          'The addresses that count as one client: an IPv4 address or an IPv6 network, `2001:db8::/64`.',
      }),
      ...Object.fromEntries(
        LIMIT_KINDS.map(({ name, description, members }) => [
          name,
          Type.Union([Type.Object(counts(members)), Type.Null()], { description }),
        ]),
      ),
    },
    { description: 'The limits of a client, and the remaining amounts.' },
  ),
);

function counts(members: Readonly<Record<string, string>>) {
  return Object.fromEntries(
    Object.entries(members).map(([name, description]) => [name, Type.Integer({ minimum: 0, description })]),
  );
}

/** `GET /api/v1/limits`: the remaining quota of the client. */
export const limitsRoutes: FastifyPluginAsyncTypebox<{ limits: Limits }> = async (app, { limits }) => {
  app.get(
    '/api/v1/limits',
    {
      // Answers past the limits that it reports.
      config: { counts: 'pages' },
      schema: {
        operationId: 'getLimits',
        summary: 'Remaining quota of the client',
        description:
          'Counts as a page, not as a request. The service also answers after the reported limits are reached.',
        tags: ['API'],
        querystring: Type.Object({}, { additionalProperties: false }),
        response: { 200: ClientLimits, ...problemResponses },
      },
    },
    async (request, reply) =>
      reply.header('cache-control', 'no-store').send(await clientLimits(limits, clientOf(request))),
  );
};

async function clientLimits({ list }: Limits, client: string): Promise<ClientLimits> {
  const states = await Promise.all(
    LIMIT_KINDS.map(async ({ name }) => {
      const limit = list.find((each) => each.name === name);
      return [name, (await limit?.status(client)) ?? null];
    }),
  );
  return { client, ...Object.fromEntries(states) };
}
