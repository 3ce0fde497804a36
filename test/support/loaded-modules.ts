/**
 * Runs with `--import` in a program that a test starts. At exit, it writes the URLs of all loaded modules, and the
 * names of Node's own, as JSON. The file is in the folder LOADED_MODULES, and its name is the process ID.
 */
import { writeFileSync } from 'node:fs';
import { createRequire, registerHooks } from 'node:module';
import { join } from 'node:path';

const { LOADED_MODULES: folder } = process.env;
if (folder === undefined) throw new Error('LOADED_MODULES names no folder');
const urls = new Set<string>();
registerHooks({
  load(url, context, next) {
    urls.add(url.replace('file://', ''));
    return next(url, context);
  },
});
process.on('exit', () => {
  for (const path of Object.keys(createRequire(import.meta.url).cache)) urls.add(path);
  const { moduleLoadList } = process as unknown as { moduleLoadList: string[] };
  writeFileSync(join(folder, `${process.pid}.json`), JSON.stringify([...urls, ...moduleLoadList]));
});
