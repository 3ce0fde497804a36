import { ServiceError } from '../errors.ts';
import { drain, readBody } from '../net/body.ts';
import type { HttpClient, HttpRequest, HttpResponse } from '../net/http.ts';
import { type Reference, type Repository, referenceOrNone } from '../oci/reference.ts';
import type { Authorizer, RegistryAuthorizer } from './authorizer.ts';
import { missingOrPrivate } from './status-error.ts';

/** Maximum bytes of a refusal's body. */
const REASON_LIMIT = 64 * 1024;
/** Matches a path of the registry API: an optional prefix, `/v2/`, a repository, and a resource in it. */
const RESOURCE = /^(?:\/.*?)?\/v2\/(.+)\/(?:manifests|blobs|tags|referrers)\/[^/]+$/;

/**
 * Sends a request to a registry's API with the authorization that the registry requires. If it redirects to another
 * registry, that registry gets an authorization of its own, because credentials must not follow redirects
 * (CVE-2020-15157).
 *
 * @returns a response with any status except 401
 * @throws ServiceError `image-not-found` or `registry-credentials-refused` for 401; as {@link HttpClient.request} and
 *   {@link Authorizer.challenged} do
 */
export async function requestAuthorized(
  { http, authorizer }: { readonly http: HttpClient; readonly authorizer: RegistryAuthorizer },
  repository: Repository,
  url: URL,
  request: HttpRequest,
  signal: AbortSignal,
): Promise<HttpResponse> {
  const attempt = (at: URL, authorization: string | undefined): Promise<HttpResponse> => {
    const headers = { ...request.headers, ...(authorization && { authorization }) };
    return http.request(at, { ...request, chosenBy: url.origin, headers }, signal);
  };

  /** Answers the challenge of one registry once. Challenges from other origins are not answered. */
  const exchange = async (by: Authorizer, from: Repository, at: URL, refused?: HttpResponse) => {
    const known = await by.authorization(from);
    const first = known === undefined && refused ? refused : await attempt(at, known);
    if (first.status !== 401 || first.url.origin !== at.origin) return first;
    await drain(first);
    const header = await by.challenged(from, at.origin, first.header('www-authenticate'), known);
    return header === undefined ? first : attempt(at, header);
  };

  const first = await exchange(authorizer, repository, url);
  if (first.status !== 401) return first;
  const target = first.url.origin === url.origin ? undefined : repositoryOf(first.url);
  const reason = await readReason(first);
  if (target === undefined) throw await authorizer.refusal(repository, reason);
  const theirs = authorizer.redirected(target, first.url.origin);
  try {
    const second = await exchange(theirs, target, first.url, first);
    if (second.status !== 401) return second;
    throw await theirs.refusal(target, await readReason(second));
  } catch (error) {
    const isMissing = error instanceof ServiceError && error.code === 'image-not-found';
    // The error names the repository that the client requested, not the one behind the redirect.
    throw isMissing ? missingOrPrivate(repository, error) : error;
  }
}

/** Reads the body of a refusal; empty if it cannot be read, because the refusal is what counts. */
async function readReason(response: HttpResponse): Promise<Uint8Array> {
  return readBody(response, REASON_LIMIT).catch(() => new Uint8Array());
}

/** Reads the repository from a URL of a registry's API; undefined for other URLs. */
function repositoryOf({ host, pathname }: URL): Reference | undefined {
  // A name without a dot or a port would be read as a repository of Docker Hub.
  if (!/[.:]/.test(host)) return undefined;
  const [, path] = RESOURCE.exec(pathname) ?? [];
  return path === undefined ? undefined : referenceOrNone(`${host}/${path}`);
}
