import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import type { Static } from 'typebox';
import { Type } from '../../util/schema.ts';
import { problemResponses } from '../problems/problem-schema.ts';

/** The facts about this service that a client may read before a request. */
export const ServiceInfo = Type.Object(
  {
    version: Type.String({ description: 'The version of DockerProxy.' }),
    operator: Type.Object({
      name: Type.Union([Type.String(), Type.Null()], { description: 'The operator of this service.' }),
      contact: Type.Union([Type.String(), Type.Null()], {
        description: 'The contact of the operator: a `mailto:` or `https:` URL.',
      }),
    }),
    source: Type.String({
      description:
        'Source of images: `registry` or `engine`. An engine prepares the whole archive before its first byte.',
    }),
    defaultPlatform: Type.String({ description: 'The platform of requests that name none: `linux/amd64`.' }),
    allowed: Type.Array(Type.String(), {
      description: 'The images that may be fetched, as globs over registry/repository.',
    }),
    denied: Type.Array(Type.String(), { description: 'The denied images, which override the allowed ones.' }),
    policy: Type.Array(
      Type.Object({
        images: Type.Array(Type.String(), { description: 'Globs over registry/repository.' }),
        require: Type.Union([Type.Literal('signature'), Type.Literal('none')]),
        keys: Type.Array(Type.String(), {
          description: 'The names of the accepted keys. A signature by one of them is enough.',
        }),
      }),
      {
        description:
          'The images that must be signed. The first rule that matches an image applies. An image without a rule needs no signature.',
      },
    ),
    maxImageSize: Type.Union([Type.Integer({ minimum: 1 }), Type.Null()], {
      description: 'Maximum bytes of an archive; null without a limit.',
    }),
    maxImages: Type.Integer({ minimum: 1, description: 'Maximum number of images in one archive.' }),
    clientCredentials: Type.Boolean({
      description: 'True if requests may contain credentials for private images.',
    }),
    registryApi: Type.Boolean({
      description: 'True if `docker pull` and similar commands can pull images through this service.',
    }),
    search: Type.Boolean({ description: 'True if this service can search for repositories.' }),
  },
  { title: 'ServiceInfo', description: 'Describes this service and the images that it allows.' },
);

export type ServiceInfo = Static<typeof ServiceInfo>;

/** `GET /api/v1/info`: what this service is, and what may be fetched. */
export const infoRoutes: FastifyPluginAsyncTypebox<{ info: () => ServiceInfo }> = async (app, { info }) => {
  app.get(
    '/api/v1/info',
    {
      config: { counts: 'requests' },
      schema: {
        operationId: 'getInfo',
        summary: 'Properties of this service',
        tags: ['API'],
        querystring: Type.Object({}, { additionalProperties: false }),
        response: { 200: ServiceInfo, ...problemResponses },
      },
    },
    (_request, reply) => {
      reply.header('cache-control', 'public, max-age=300').send(info());
    },
  );
};
