import { Buffer } from 'node:buffer';
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import process from 'node:process';
import { constants, Script } from 'node:vm';
import { crc32 } from 'node:zlib';

/** Seconds after which a process has time to look for code that it has compiled since. */
const LONG_ENOUGH = 1;
/** Code is replaced by code that is this many times as large, because it has more functions. */
const LARGER = 1.05;
const CHECKSUM_BYTES = 4;

/**
 * Runs the scripts of the bundle with the code that earlier processes compiled. The cache of Node.js only has the
 * functions that run while a module loads. This one also has those of the first download.
 *
 * @param {string} main the path of the bundle's first script
 * @param {string | undefined} folder keeps the compiled code; undefined to keep none
 */
export function runBundle(main, folder) {
  const code = folder && join(folder, `bundle-${process.version}-${process.arch}-${optionsHash()}`);
  const loaded = new Map();
  const scripts = [];
  const directory = dirname(main);
  const outside = createRequire(main);
  const require = (name) => (name.startsWith('./') ? load(join(directory, name)) : outside(name));
  const load = (path) => {
    const known = loaded.get(path);
    if (known !== undefined) return known.exports;
    const module = { exports: {} };
    loaded.set(path, module);
    // The bundle is all ASCII.
    const source = `(function (exports, require, module, __filename, __dirname) {${readFileSync(path, 'latin1')}\n})`;
    const kept = code && keptIn(code, path);
    const script = new Script(source, {
      filename: path,
      cachedData: kept,
      importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
    });
    const size = kept === undefined || script.cachedDataRejected ? 0 : kept.length;
    if (hasHash(path)) scripts.push({ script, path, size });
    try {
      script.runInThisContext().call(module.exports, module.exports, require, module, path, directory);
    } catch (error) {
      // As in Node.js, the next request for the script fails as well, instead of returning half of its exports.
      loaded.delete(path);
      throw error;
    }
    return module.exports;
  };

  if (code) process.once('exit', () => keep(code, scripts));
  load(main);
}

/** V8 accepts code only with the options that it was made with. */
function optionsHash() {
  const options = [...process.execArgv, process.env.NODE_OPTIONS];
  return crc32(options.join('\n')).toString(16);
}

/** V8 compares only the length of a script, so a script must have a hash in its name for its code to be kept. */
function hasHash(path) {
  return basename(path).startsWith('chunk-');
}

function keptIn(folder, path) {
  if (!hasHash(path)) return undefined;
  try {
    const file = readFileSync(join(folder, basename(path)));
    const code = file.subarray(0, -CHECKSUM_BYTES);
    return crc32(code) === file.readUInt32LE(code.length) ? code : undefined;
  } catch {
    // The file does not exist, or is too short.
    return undefined;
  }
}

/** V8 runs damaged code as it is. A file may be damaged because the machine lost its power. */
function withChecksum(code) {
  const checksum = Buffer.alloc(CHECKSUM_BYTES);
  checksum.writeUInt32LE(crc32(code));
  return Buffer.concat([code, checksum]);
}

/** Writes the code of new scripts. After a longer run, also the code of those that have more functions now. */
function keep(folder, scripts) {
  const all = process.uptime() > LONG_ENOUGH;
  for (const { script, path, size } of scripts) {
    if (size > 0 && !all) continue;
    const own = join(folder, `${basename(path)}.${process.pid}`);
    try {
      const code = script.createCachedData();
      if (code.length < size * LARGER) continue;
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      writeFileSync(own, withChecksum(code), { mode: 0o600 });
      renameSync(own, join(folder, basename(path)));
    } catch {
      // Such as a full disk. The next process tries again.
      removeUnfinished(own);
    }
  }
}

function removeUnfinished(path) {
  try {
    rmSync(path, { force: true });
  } catch {
    // Such as a file system that has become read-only.
  }
}
