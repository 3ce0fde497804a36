import { listFiles, printFile } from '../cli/files.ts';
import { type FilesArguments, parseListArguments, parsePrintArguments } from '../cli/files-arguments.ts';
import { requireFiles } from '../download/image-file.ts';
import { argumentBytes } from './argument-bytes.ts';
import { withImages } from './with-images.ts';

/** Runs `dockerproxy ls`. */
export async function ls(args: readonly string[]): Promise<void> {
  await withFiles(parseListArguments(args), listFiles);
}

/** Runs `dockerproxy cat`. */
export async function cat(args: readonly string[]): Promise<void> {
  await withFiles(parsePrintArguments(args), printFile);
}

async function withFiles(given: FilesArguments, work: typeof listFiles): Promise<void> {
  const what = { ...given, path: await argumentBytes(given.path) };
  const references = [what.reference];
  await withImages(
    what.settings,
    { references, own: references, login: what.login, isVerbose: what.isVerbose },
    ({ files }, _config, terminal, signal) => work(what, requireFiles(files), terminal, signal),
  );
}
