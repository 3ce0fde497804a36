import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { detail } from '../../errors/details.ts';
import { quote, ServiceError } from '../../errors.ts';
import type { Limits } from '../../limits/limits.ts';
import { parseDigest } from '../../oci/digest.ts';
import { digestReference, isTag, type Reference, tagReference } from '../../oci/reference.ts';
import { parseRegistryName, type RegistryNames } from '../../oci/registry-name.ts';
import type { Allowlist } from '../../policy/allowlist.ts';
import { UnknownManifestError } from '../../registry/status-error.ts';
import type { MemoryCaches } from '../../util/memory-caches.ts';
import { downloadLimits } from '../download/limits.ts';
import { credentialFor } from '../plugins/credentials.ts';
import type { CountRequest } from '../plugins/limits.ts';
import { catalogued } from '../problems/plugin.ts';
import { abortOnDisconnect } from '../protocol/client-abort.ts';
import type { Addresses } from '../protocol/own-address.ts';
import { type BlobOptions, replyWithBlob } from './blob.ts';
import { sendRegistryError } from './errors.ts';
import { challengeForToken, replyWithToken, TOKEN_PATH } from './login.ts';
import { type ManifestOptions, replyWithManifest } from './manifest.ts';
import { parseRegistryPath, type RegistryPath } from './path.ts';
import { createPullCounter } from './pull-counter.ts';
import { replyWithReferrers } from './referrers.ts';
import { replyWithTags, type TagsOptions } from './tags.ts';

export interface RegistryApiOptions extends ManifestOptions, BlobOptions, TagsOptions {
  /** Decides which registry a repository name means. */
  readonly names: () => RegistryNames;
  /** The registry of a login whose user name states none. Such a login must not go to each registry that is pulled from. */
  readonly loginRegistry: () => string;
  readonly allowlist: Allowlist;
  readonly limits: Limits;
  /** Counts a request toward the rate of requests. */
  readonly count: CountRequest;
  readonly caches: MemoryCaches;
  readonly addresses: () => Addresses;
}

const METHODS = ['GET', 'HEAD'];

/**
 * The registry API for reading: `GET|HEAD /v2/` and below it manifests, blobs, tags, and referrers of all registries.
 *
 * @see https://github.com/opencontainers/distribution-spec/blob/main/spec.md
 */
export async function registryApiRoutes(app: FastifyInstance, options: RegistryApiOptions): Promise<void> {
  const { names, allowlist, limits } = options;
  const countPull = createPullCounter(options.count, options.caches);

  app.setErrorHandler(async (error: FastifyError, request, reply) => {
    if (error.name === 'AbortError' && reply.raw.destroyed) return reply.hijack();
    const plain = catalogued(error);
    const known = (await request.credentials?.explain(plain)) ?? plain;
    if (known.code === 'internal-error') request.log.error({ err: error, url: request.url }, known.message);
    if (known.status === 401) challengeForToken(request, reply, pathOf(request), options.addresses());
    return sendRegistryError(reply, known);
  });
  app.addHook('onRequest', async (_request, reply) => {
    reply.header('docker-distribution-api-version', 'registry/2.0');
    // A manifest has the media type that its registry states. As HTML, it must not act in the name of this site.
    reply.header('content-security-policy', "sandbox; default-src 'none'");
  });
  // Requests with other methods find no route. In this scope, their refusals get the errors of the specification, too.
  await app.register(
    async (scope) => {
      scope.setNotFoundHandler(async () => {
        throw new ServiceError('route-not-found', detail('registry-path-unknown', {}));
      });
    },
    { prefix: '/v2' },
  );
  /** Docker, podman, and skopeo send credentials only if this request asks for them. */
  const ping = (request: FastifyRequest, reply: FastifyReply): FastifyReply => {
    if (request.credentials?.mayAsk)
      throw new ServiceError('credentials-required', detail('token-required', {}));
    return reply.send({});
  };
  app.route({ method: METHODS, url: '/v2', handler: async (request, reply) => ping(request, reply) });
  app.route<{ Params: { '*': string } }>({
    method: METHODS,
    url: '/v2/*',
    handler: async (request, reply) => {
      const { '*': path } = request.params;
      if (path === '') return ping(request, reply);
      if (path === TOKEN_PATH) return replyWithToken(request, reply);
      const asked = parseRegistryPath(path);
      if (asked === undefined) throw new ServiceError('route-not-found', detail('registry-path-unknown', {}));
      try {
        return await answer(request, reply, asked);
      } catch (error) {
        // Random digests would otherwise send requests to a registry at the rate of pages.
        if (isRefused(error)) await options.count(request, reply);
        throw error;
      }
    },
  });

  const answer = async (
    request: FastifyRequest,
    reply: FastifyReply,
    { kind, name, target }: RegistryPath,
  ): Promise<FastifyReply> => {
    const { ns } = request.query as { readonly ns?: unknown };
    if (ns !== undefined && typeof ns !== 'string')
      throw new ServiceError('parameter-invalid', detail('option-repeated', { option: { parameter: 'ns' } }));
    const repository = parseRegistryName(name, ns, names());
    const reference = kind === 'manifests' ? parseTarget(repository, target) : repository;
    if (ns !== undefined) reply.header('oci-namespace', ns);
    allowlist.check(reference);
    const digest = kind === 'blobs' || kind === 'referrers' ? parseDigest(target) : undefined;
    await countPull(request, reply, reference);
    const gone = abortOnDisconnect(reply);
    const allowance = downloadLimits(limits, request, gone);
    const takeSlot = () => allowance.takeSlot(`pull ${reference.name}`);
    const credential = await credentialFor(request, [reference], options.loginRegistry());
    const pull = { signal: gone, client: allowance.client, credential, onCostly: takeSlot };
    if (kind === 'tags') return replyWithTags(request, reply, name, reference, options, pull);
    if (digest !== undefined && kind === 'referrers')
      return replyWithReferrers(request, reply, reference, digest, options, pull);
    if (request.method === 'GET') await takeSlot();
    if (digest === undefined) return replyWithManifest(request, reply, reference, options, pull);
    return replyWithBlob(request, reply, reference, digest, options, allowance, pull);
  };
}

/** Tells whether an error is about what the client requests, and is not a limit. */
function isRefused(error: unknown): boolean {
  return error instanceof ServiceError && error.status < 500 && error.status !== 429;
}

/** Reads a tag or a digest. A text that can be neither names no manifest that any repository has. */
function parseTarget(repository: Reference, target: string): Reference {
  if (target.includes(':')) return digestReference(repository, parseDigest(target));
  if (isTag(target)) return tagReference(repository, target);
  throw new UnknownManifestError(`${repository.name}:${quote(target)}`);
}

/** Returns the requested path below `/v2/`. */
function pathOf({ params }: FastifyRequest): string {
  const { '*': path = '' } = params as Readonly<Record<string, string | undefined>>;
  return path;
}
