import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import type { Static } from 'typebox';
import { DEFAULT_FORMAT, FORMAT_NAMES } from '../../archive/format.ts';
import { downloadUrl } from '../../download/url.ts';
import type { Limits } from '../../limits/limits.ts';
import { parsePlatform } from '../../oci/platform.ts';
import { familiarReference, formatReference, parseReference, taggedName } from '../../oci/reference.ts';
import type { Allowlist } from '../../policy/allowlist.ts';
import type { ImageDetails as Details, ImageInspector } from '../../sources/image-catalogue.ts';
import { choice, Type } from '../../util/schema.ts';
import { downloadLimits } from '../download/limits.ts';
import { credentialFor } from '../plugins/credentials.ts';
import { problemResponses } from '../problems/problem-schema.ts';
import { abortOnDisconnect } from '../protocol/client-abort.ts';

const ImageQuery = Type.Object(
  {
    myimage: Type.String({
      minLength: 1,
      description: 'The image, as in a download: `nginx:1.27`.',
      examples: ['busybox'],
    }),
    platform: Type.Optional(
      Type.String({
        minLength: 1,
        description:
          'os/architecture[/variant]. Default: the default platform of the service, or that of a digest.',
      }),
    ),
    format: Type.Optional(
      choice(FORMAT_NAMES, { description: `As in a download: \`${FORMAT_NAMES.join('` or `')}\`.` }),
    ),
  },
  { additionalProperties: false },
);

const maybe = <T extends Parameters<typeof Type.Union>[0][number]>(type: T, description: string) =>
  Type.Union([type, Type.Null()], { description });

/** The description of an image before its download. */
export const ImageDetails = Type.Object(
  {
    reference: Type.String({ description: 'In full: `docker.io/library/nginx:1.27`.' }),
    name: Type.String({ description: 'As people write it: `nginx:1.27`.' }),
    kind: Type.Union([Type.Literal('image'), Type.Literal('artifact')], {
      description: 'An artifact is anything else in a registry, such as a Helm chart.',
    }),
    format: choice(FORMAT_NAMES, { description: 'The format of the described file.' }),
    artifactType: maybe(Type.String(), 'The type of an artifact, by its publisher; null for an image.'),
    files: maybe(
      Type.Array(
        Type.Object({
          name: Type.String({ description: 'A safe form of the name that its publisher gives it.' }),
          mediaType: Type.String(),
          digest: Type.String(),
          size: Type.Integer({ minimum: 0, description: 'Bytes.' }),
        }),
      ),
      'The files of an artifact; null for an image.',
    ),
    digest: maybe(Type.String(), 'The digest of the manifest, or the image ID if the manifest is unknown.'),
    indexDigest: maybe(Type.String(), 'The digest of the index, if the reference points to one.'),
    pinned: maybe(
      Type.String(),
      'A reference to exactly this, forever, which keeps its name: `nginx:1.27@sha256:…`.',
    ),
    platform: maybe(Type.String({ examples: ['linux/amd64'] }), 'Null for an artifact without platforms.'),
    platforms: Type.Array(Type.String(), { description: 'All available platforms.' }),
    filename: Type.String({ examples: ['nginx_1.27.tar'] }),
    size: maybe(
      Type.Integer({ minimum: 0 }),
      'Bytes of the archive, exactly; null where only making it tells.',
    ),
    etag: maybe(Type.String(), 'The strong validator of the archive; null where only making it tells.'),
    layers: maybe(
      Type.Array(Type.Object({ digest: Type.String(), size: Type.Integer({ minimum: 0 }) })),
      'From the base upwards, with their bytes as the registry serves them; null where only an engine knows.',
    ),
    created: maybe(Type.String({ format: 'date-time' }), 'When it was built, by its publisher.'),
    config: Type.Object(
      {
        entrypoint: maybe(Type.Array(Type.String()), 'The program that the image starts.'),
        command: maybe(
          Type.Array(Type.String()),
          'The arguments of the entrypoint, or the command of an image without an entrypoint.',
        ),
        workingDir: maybe(Type.String(), 'The working directory.'),
        user: maybe(Type.String(), 'The user; null for root.'),
        exposedPorts: Type.Array(Type.String(), { examples: [['80/tcp']] }),
        truncated: Type.Boolean({
          description:
            'True if a text or list was truncated because it is too long. A truncated text ends with `…`.',
        }),
      },
      { description: 'How the image runs, as its publisher configured it.' },
    ),
    zstd: Type.Boolean({ description: 'True if Docker before 23.0 cannot load it.' }),
    signature: Type.Object(
      {
        state: Type.Union([Type.Literal('signed'), Type.Literal('unsigned'), Type.Literal('not-checked')], {
          description:
            '`signed` if an accepted key has signed the image, or the index that the reference names.',
        }),
        keys: Type.Array(Type.String(), { description: 'The names of the keys that signed it.' }),
        isRequired: Type.Boolean({ description: 'True if it is refused unless it is signed.' }),
        reason: maybe(Type.String(), 'Why it is not signed, or could not be checked.'),
      },
      { description: '`not-checked` if the signature policy of this service has no key for the image.' },
    ),
    staleSince: maybe(
      Type.String({ format: 'date-time' }),
      'The time when the registry last confirmed this digest for the tag; null if it just did.',
    ),
    downloadUrl: Type.String({ description: 'Relative to this service.', examples: ['/dl?myimage=busybox'] }),
  },
  { title: 'ImageDetails' },
);

export type ImageDetails = Static<typeof ImageDetails>;

export interface CatalogueOptions {
  readonly catalogue: ImageInspector;
  readonly allowlist: Allowlist;
  readonly limits: Limits;
}

/** `GET /api/v1/image?myimage=REF`: details of an image or artifact and the size of its archive. */
export const imageRoutes: FastifyPluginAsyncTypebox<CatalogueOptions> = async (
  app,
  { catalogue, allowlist, limits },
) => {
  app.get(
    '/api/v1/image',
    {
      config: { counts: 'requests' },
      schema: {
        operationId: 'getImage',
        summary: 'Details of an image and the size of its archive',
        description: 'Reads its manifest and its config, and no layer.',
        tags: ['API'],
        querystring: ImageQuery,
        response: { 200: ImageDetails, ...problemResponses },
      },
    },
    async (request, reply) => {
      const { query } = request;
      const reference = parseReference(query.myimage);
      const platform = query.platform === undefined ? undefined : parsePlatform(query.platform);
      allowlist.check(reference);
      const format = query.format ?? DEFAULT_FORMAT;
      const gone = abortOnDisconnect(reply);
      const allowance = downloadLimits(limits, request, gone);
      const slot = { references: [reference], platform, format, have: undefined };
      const onCostly = () => allowance.takeSlot(slot);
      const { client } = allowance;
      const isFormatOpen = query.format === undefined;
      const credential = await credentialFor(request, [reference]);
      const asked = { reference, platform, format, isFormatOpen, client, credential, onCostly };
      const details = await catalogue.describe(asked, gone);
      const { digest, indexDigest } = details;
      const fixed = indexDigest ?? digest;
      return reply.header('cache-control', 'private, max-age=30').send({
        ...onWire(details),
        reference: formatReference(reference),
        name: familiarReference(reference),
        pinned: fixed === undefined ? null : `${taggedName(reference)}@${fixed}`,
        downloadUrl: downloadUrl(query),
      });
    },
  );
};

type OnWire = Omit<ImageDetails, 'reference' | 'name' | 'pinned' | 'downloadUrl'>;

function onWire(details: Details): OnWire {
  const { digest, indexDigest, size, etag, layers, created, config, signature, staleSince, ...rest } =
    details;
  const { artifactType, files, platform } = details;
  const { entrypoint, command, workingDir, user, exposedPorts, truncated } = config;
  return {
    ...rest,
    artifactType: artifactType ?? null,
    files: files === undefined ? null : [...files],
    platform: platform ?? null,
    digest: digest ?? null,
    indexDigest: indexDigest ?? null,
    platforms: [...details.platforms],
    size: size ?? null,
    etag: etag ?? null,
    layers: layers === undefined ? null : [...layers],
    created: created?.toISOString() ?? null,
    config: {
      entrypoint: entrypoint === undefined ? null : [...entrypoint],
      command: command === undefined ? null : [...command],
      workingDir: workingDir ?? null,
      user: user ?? null,
      exposedPorts: [...exposedPorts],
      truncated,
    },
    signature: { ...signature, keys: [...signature.keys], reason: signature.reason ?? null },
    staleSince: staleSince === undefined ? null : new Date(staleSince).toISOString(),
  };
}
