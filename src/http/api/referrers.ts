import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { DEFAULT_FORMAT } from '../../archive/format.ts';
import { downloadUrl } from '../../download/url.ts';
import type { Limits } from '../../limits/limits.ts';
import { parsePlatform } from '../../oci/platform.ts';
import { familiarName, formatReference, parseReference } from '../../oci/reference.ts';
import type { Allowlist } from '../../policy/allowlist.ts';
import type { FindReferrersOf } from '../../sources/image-catalogue.ts';
import { choice, Type } from '../../util/schema.ts';
import { downloadLimits } from '../download/limits.ts';
import { credentialFor } from '../plugins/credentials.ts';
import { problemResponses } from '../problems/problem-schema.ts';
import { abortOnDisconnect } from '../protocol/client-abort.ts';

const ReferrersQuery = Type.Object(
  {
    myimage: Type.String({ minLength: 1, description: 'The image: `nginx:1.27`.', examples: ['busybox'] }),
    platform: Type.Optional(Type.String({ minLength: 1, description: 'As in a download.' })),
  },
  { additionalProperties: false },
);

/** The artifacts that refer to an image. */
const Referrers = Type.Object(
  {
    reference: Type.String({ description: 'In full: `docker.io/library/nginx:1.27`.' }),
    referrers: Type.Array(
      Type.Object({
        kinds: Type.Array(choice(['signature', 'sbom', 'provenance', 'other']), {
          description: 'The meaning of the referrer, by the types that its publisher states. Not verified.',
        }),
        artifactType: Type.Union([Type.String(), Type.Null()], {
          description: 'The type, by its publisher.',
        }),
        digest: Type.String({ description: 'The digest of its manifest.' }),
        size: Type.Integer({ minimum: 0, description: 'Bytes of its manifest.' }),
        subject: Type.String({ description: 'The manifest or index that it refers to.' }),
        annotations: Type.Unsafe<Readonly<Record<string, string>>>({
          type: 'object',
          additionalProperties: { type: 'string' },
          description: 'At most 16, each of at most 512 characters.',
        }),
        downloadUrl: Type.String({ description: 'Relative to this service.' }),
      }),
    ),
    complete: Type.Boolean({ description: 'False if there are more, or if the registry cannot be reached.' }),
  },
  { title: 'Referrers' },
);

export interface ReferrersOptions {
  readonly referrers: FindReferrersOf;
  readonly allowlist: Allowlist;
  readonly limits: Limits;
}

/** `GET /api/v1/referrers?myimage=REF`: signatures, SBOMs, and other artifacts that refer to an image. */
export const referrersRoutes: FastifyPluginAsyncTypebox<ReferrersOptions> = async (
  app,
  { referrers: find, allowlist, limits },
) => {
  app.get(
    '/api/v1/referrers',
    {
      config: { counts: 'requests' },
      schema: {
        operationId: 'listReferrers',
        summary: 'Signatures, SBOMs, and other artifacts that refer to an image',
        description: 'Includes the referrers of the index, and the attestations in it.',
        tags: ['API'],
        querystring: ReferrersQuery,
        response: { 200: Referrers, ...problemResponses },
      },
    },
    async (request, reply) => {
      const { myimage, platform: text } = request.query;
      const reference = parseReference(myimage);
      const platform = text === undefined ? undefined : parsePlatform(text);
      allowlist.check(reference);
      const gone = abortOnDisconnect(reply);
      const allowance = downloadLimits(limits, request, gone);
      const slot = { references: [reference], platform, format: DEFAULT_FORMAT, have: undefined };
      const onCostly = () => allowance.takeSlot(slot);
      const credential = await credentialFor(request, [reference]);
      const { referrers, isComplete } = await find({ reference, platform, credential, onCostly }, gone);
      return reply.header('cache-control', 'private, max-age=30').send({
        reference: formatReference(reference),
        referrers: referrers.map(({ kinds, artifactType, annotations, ...rest }) => ({
          ...{
            ...rest,
            kinds: [...kinds],
            artifactType: artifactType ?? null,
            annotations: { ...annotations },
          },
          downloadUrl: downloadUrl({ myimage: `${familiarName(reference)}@${rest.digest}` }),
        })),
        complete: isComplete,
      });
    },
  );
};
