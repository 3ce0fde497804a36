/** Returns a sentence that states why a file cannot be read. */
export function unreadableFile(path: string, error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT') return `The file ${path} does not exist.`;
  if (code === 'EACCES') return `You do not have permission to read ${path}.`;
  if (code === 'EISDIR') return `${path} is a folder. Name a file.`;
  return `${path} cannot be read: ${message}.`;
}
