import { type HttpRequest, type HttpResponse, httpCall } from './http-request.ts';
import type { Blob, Manifest } from './images.ts';

/** Headers for every request; the function form serves token servers, whose tokens name a repository. */
export type PushHeaders =
  | Record<string, string>
  | ((repository: string) => Record<string, string> | Promise<Record<string, string>>);

/**
 * Uploads a manifest with everything below it by the distribution API, and gives its digest. Blobs that the
 * repository has are not sent again. Without a tag the manifest is stored by digest only.
 * https://github.com/opencontainers/distribution-spec/blob/main/spec.md#push
 */
export async function push(
  registryUrl: string,
  repository: string,
  tag: string | undefined,
  manifest: Manifest,
  { headers = {} }: { headers?: PushHeaders } = {},
): Promise<string> {
  const own = typeof headers === 'function' ? await headers(repository) : headers;
  const base = `${registryUrl}/v2/${repository}`;
  for (const child of manifest.children) await push(registryUrl, repository, undefined, child, { headers });
  for (const blob of manifest.blobs) if (!blob.descriptor.urls) await pushBlob(base, blob, own);
  const { digest, mediaType } = manifest.descriptor;
  await send(`${base}/manifests/${tag ?? digest}`, {
    method: 'PUT',
    headers: { ...own, 'content-type': mediaType },
    body: manifest.bytes,
  });
  return digest;
}

async function pushBlob(base: string, blob: Blob, headers: Record<string, string>): Promise<void> {
  const { digest } = blob.descriptor;
  const known = await httpCall(`${base}/blobs/${digest}`, { method: 'HEAD', headers });
  if (known.status === 200) return;
  const session = await send(`${base}/blobs/uploads/`, { method: 'POST', headers });
  const target = new URL(session.headers.location ?? '', base);
  target.searchParams.set('digest', digest);
  await send(target, {
    method: 'PUT',
    headers: { ...headers, 'content-type': 'application/octet-stream' },
    body: blob.content,
  });
}

async function send(url: string | URL, call: HttpRequest): Promise<HttpResponse> {
  const response = await httpCall(url, call);
  if (response.status < 300) return response;
  throw new Error(`${call.method} ${url}: ${response.status} ${response.body}`);
}
