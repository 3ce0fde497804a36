import process from 'node:process';
import { readImageList } from '../cli/image-list.ts';
import { save as saveTo } from '../cli/save.ts';
import { imageListsOf, parseSaveArguments } from '../cli/save-arguments.ts';
import { namedImages } from '../download/query.ts';
import { version } from './version.ts';
import { withImages } from './with-images.ts';

/** Runs `dockerproxy save`. */
export async function save(args: readonly string[]): Promise<void> {
  const lists = imageListsOf(args).map((file) =>
    readImageList(file, { stdin: process.stdin, environment: process.env }),
  );
  const { settings, ...what } = parseSaveArguments(args, (await Promise.all(lists)).flat());
  const { references } = what.query;
  const named = {
    references: namedImages(what.query),
    own: references,
    login: what.login,
    isVerbose: what.isVerbose,
  };
  await withImages(settings, named, async ({ source }, { replicas }, terminal, signal) => {
    const publication = { replicas, generator: `DockerProxy/${version}` };
    await saveTo(what, source, terminal, publication, signal);
  });
}
