/**
 * Makes a path relative to the root, lexically: without `.`, `..`, and superfluous slashes. A path that climbs above
 * the root ends at the root, as in containerd.
 *
 * @returns names joined by slashes; empty for the root
 */
export function cleanPath(path: string): string {
  if (!/(?:^|\/)(?:\.{0,2})(?:\/|$)/.test(path)) return path;
  const names: string[] = [];
  for (const name of path.split('/')) {
    if (name === '..') names.pop();
    else if (name !== '' && name !== '.') names.push(name);
  }
  return names.join('/');
}
