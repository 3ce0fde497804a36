import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { openImageFile, requireFiles } from '../../download/image-file.ts';
import { readParameters, URL_SPELLING } from '../../download/read-parameters.ts';
import { detail } from '../../errors/details.ts';
import { ServiceError } from '../../errors.ts';
import { parsePlatform } from '../../oci/platform.ts';
import { parseReference } from '../../oci/reference.ts';
import type { ImageFiles } from '../../sources/contents/image-files.ts';
import { credentialFor } from '../plugins/credentials.ts';
import { bytesParameter } from '../protocol/bytes-parameter.ts';
import { abortOnDisconnect } from '../protocol/client-abort.ts';
import { fileHeaders, isNotModified, rangeHeaders, requestedRange } from './headers.ts';
import { withInterimResponses } from './interim-responses.ts';
import { downloadLimits } from './limits.ts';
import { downloadOf, observeDownload } from './observer.ts';
import type { DownloadOptions } from './route.ts';
import { sendStream } from './send-stream.ts';

export interface FileOptions
  extends Pick<DownloadOptions, 'allowlist' | 'limits' | 'contentsOnDemand' | 'meter' | 'drain'> {
  /** Undefined if the source cannot read layers. */
  readonly files: ImageFiles | undefined;
}

type FileQuery = Readonly<Record<string, string | string[] | undefined>>;

/** A stranger's file must not run in a browser, whatever it contains. */
const SANDBOX = {
  'content-security-policy': "default-src 'none'; sandbox",
  'x-content-type-options': 'nosniff',
} as const;

/** `GET|HEAD /file?myimage=REF&path=PATH`: one file of an image, or a tar archive of a directory. */
export async function fileRoutes(app: FastifyInstance, options: FileOptions): Promise<void> {
  const { files, allowlist, limits, contentsOnDemand } = options;
  app.route<{ Querystring: FileQuery }>({
    method: ['GET', 'HEAD'],
    url: '/file',
    config: { counts: 'requests' },
    handler: (request, reply) => download(request, reply),
  });

  const download = async (
    request: FastifyRequest<{ Querystring: FileQuery }>,
    reply: FastifyReply,
  ): Promise<FastifyReply> => {
    const { path: given, ...rest } = request.query;
    const { reference, platform } = parseFileQuery(rest);
    const path = bytesParameter(request.url, 'path');
    if (typeof given !== 'string' || !path)
      throw new ServiceError('parameter-invalid', detail('path-unnamed', {}));
    const signal = abortOnDisconnect(reply);
    const isGet = request.method === 'GET';
    const observer = isGet ? observeDownload(request, reply, downloadOf([reference]), options) : undefined;
    try {
      allowlist.check(reference);
      const slot = { references: [reference], platform, format: 'rootfs', have: undefined } as const;
      const own = downloadLimits(limits, request, signal);
      if (isGet) await own.takeSlot(slot);
      const conditions = own.reading(slot, isGet ? undefined : contentsOnDemand);
      const reading = conditions === 'none' ? undefined : conditions;
      const onCostly = () => own.takeSlot(slot);
      const credential = await credentialFor(request, [reference]);
      const asked = { reference, platform, reading, onCostly, client: own.client, credential };
      const opened = await withInterimResponses(reply.raw, requireFiles(files).open(asked, signal));
      const file = await openImageFile(opened, path, signal);
      const query = { references: [reference], platform, referrers: false, have: undefined };
      const headers = { ...fileHeaders(file, query), ...SANDBOX };
      if (isNotModified(request, file.etag)) return reply.status(304).headers(headers).send();
      if (!isGet) return reply.headers({ ...headers, 'content-length': file.size }).send();
      const range = requestedRange(request, file);
      const sending = await own.admit(file, range);
      const stream = file.read(range, signal, sending.onFetched);
      observer?.begin(file, range, stream);
      await withInterimResponses(
        reply.raw,
        sendStream({ reply, observer }, stream, { ...headers, ...rangeHeaders(file.size, range) }, sending),
      );
      return reply;
    } catch (error) {
      observer?.fail(error);
      throw error;
    }
  };
}

/** Reads the parameters that name an image. @throws ServiceError a 400 that names the parameter */
export function parseFileQuery(query: FileQuery) {
  const { myimage = [], platform } = readParameters(query, ['myimage', 'platform'], URL_SPELLING);
  const [image, ...others] = myimage;
  if (image === undefined || others.length > 0)
    throw new ServiceError('parameter-invalid', detail('image-single', {}));
  return {
    reference: parseReference(image),
    platform: platform === undefined ? undefined : parsePlatform(platform),
  };
}
