import { readFileSync } from 'node:fs';
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { FORMAT_NAMES } from '../../archive/format.ts';
import { MAX_IMAGES } from '../../download/parameters.ts';
import { namedImages, parseArchiveQuery } from '../../download/query.ts';
import { loadedName, tagCommands } from '../../download/tag-commands.ts';
import { downloadUrl } from '../../download/url.ts';
import { detail } from '../../errors/details.ts';
import { ServiceError } from '../../errors.ts';
import type { Limits } from '../../limits/limits.ts';
import { isSeveral } from '../../oci/platform-choice.ts';
import { taggedName } from '../../oci/reference.ts';
import type { Allowlist } from '../../policy/allowlist.ts';
import type { ImageSource, Omission } from '../../sources/image-source.ts';
import { choice, Type } from '../../util/schema.ts';
import { credentialFor } from '../plugins/credentials.ts';
import { problemResponses } from '../problems/problem-schema.ts';
import { abortOnDisconnect } from '../protocol/client-abort.ts';
import { downloadLimits } from './limits.ts';

const DeltaQuery = Type.Object(
  {
    myimage: Type.Array(Type.String({ minLength: 1 }), {
      minItems: 1,
      maxItems: MAX_IMAGES,
      description: 'The wanted images, as in a download.',
      examples: [['app:2.1']],
    }),
    have: Type.Array(Type.String({ minLength: 1 }), {
      minItems: 1,
      description:
        "The receiver's content: an image, or the digest of a layer, as in a registry or, unpacked, in an engine.",
      examples: [['app:2.0']],
    }),
    platform: Type.Optional(Type.String({ minLength: 1, description: 'As in a download.' })),
    format: Type.Optional(
      choice(FORMAT_NAMES, {
        description: 'As in a download. With `oci`, layers are omitted at any position in the image.',
      }),
    ),
  },
  { additionalProperties: false },
);

const Delta = Type.Object(
  {
    filename: Type.String({ examples: ['app_2.1_delta-from-2.0.tar'] }),
    size: Type.Integer({ minimum: 0, description: 'Bytes of the delta, exactly.' }),
    fullSize: Type.Integer({ minimum: 0, description: 'Bytes of the archive without `have`.' }),
    saved: Type.Integer({
      minimum: 0,
      description: 'Bytes that the delta saves: the difference between the two.',
    }),
    etag: Type.String({ description: 'The strong validator of the delta.' }),
    omitted: Type.Array(Type.Object({ digest: Type.String(), size: Type.Integer({ minimum: 0 }) }), {
      description: 'The layers that are omitted.',
    }),
    unknown: Type.Integer({
      minimum: 0,
      description: 'The number of digests in `have` that match no layer of the requested images.',
    }),
    untagged: Type.Array(
      Type.Object({
        image: Type.String({ description: 'The image as requested.', examples: ['app:2.1'] }),
        loadedAs: Type.String({
          description: 'The name of the image in the delta.',
          examples: ['app@sha256:4355a46b…'],
        }),
        docker: Type.String({ description: 'Loads, checks, and tags the image with Docker 28.0 or later.' }),
        dockerBefore28: Type.String({ description: 'Loads and tags the image with Docker before 28.0.' }),
        podman: Type.String({ description: 'Loads and tags the image with Podman.' }),
        ctr: Type.String({ description: 'Imports, checks, and tags the image with containerd.' }),
      }),
      {
        description:
          'The images that the delta names by digest alone, because `have` does not prove that the receiver has the omitted layers. The commands load the delta and tag the image. Manifest digests (`app@sha256:…`) and digests of compressed layers prove it; tags, diff IDs, and index digests do not.',
      },
    ),
    downloadUrl: Type.String({ description: 'Relative to this service.' }),
  },
  { title: 'Delta' },
);

const NOTHING: Pick<Omission, 'layers' | 'unknown' | 'untagged'> = { layers: [], unknown: 0, untagged: [] };

export interface DeltaOptions {
  readonly source: ImageSource;
  readonly allowlist: Allowlist;
  readonly limits: Limits;
}

/** `GET /api/v1/delta?myimage=REF&have=REF`: what a delta would save; `GET /delta.sh`: what completes one. */
export const deltaRoutes: FastifyPluginAsyncTypebox<DeltaOptions> = async (app, options) => {
  const { source, allowlist, limits } = options;
  app.get(
    '/api/v1/delta',
    {
      config: { counts: 'requests' },
      schema: {
        operationId: 'getDelta',
        summary: 'Savings of a delta',
        description: 'Reads manifests and configs, and no layer.',
        tags: ['API'],
        querystring: DeltaQuery,
        response: { 200: Delta, ...problemResponses },
      },
    },
    async (request, reply) => {
      const query = parseArchiveQuery(request.query);
      for (const reference of namedImages(query)) allowlist.check(reference);
      const gone = abortOnDisconnect(reply);
      const allowance = downloadLimits(limits, request, gone);
      const onCostly = () => allowance.takeSlot(query);
      if (isSeveral(query.platform)) await onCostly();
      const credential = await credentialFor(request, query.references);
      const archive = await source.open({ ...query, client: allowance.client, credential, onCostly }, gone);
      if (archive.size === undefined) throw new ServiceError('delta-unavailable', detail('delta-whole', {}));
      const { filename, size, etag, omitted } = archive;
      const { layers, fullSize, unknown, untagged } = omitted ?? { ...NOTHING, fullSize: size };
      return reply.header('cache-control', 'private, max-age=30').send({
        filename,
        size,
        etag,
        fullSize,
        saved: fullSize - size,
        omitted: layers.map((layer) => ({ digest: layer.digest, size: layer.size })),
        unknown,
        untagged: untagged.map((image) => ({
          image: taggedName(image.reference),
          loadedAs: loadedName(image),
          ...tagCommands(image, filename),
        })),
        downloadUrl: downloadUrl(request.query),
      });
    },
  );

  const script = readFileSync(new URL('../../../web/delta.sh', import.meta.url));
  app.get('/delta.sh', { schema: { hide: true } }, async (_request, reply) =>
    reply
      .type('text/x-shellscript; charset=utf-8')
      .headers({ 'cache-control': 'no-cache', 'content-disposition': 'inline; filename="delta.sh"' })
      .send(script),
  );
};
