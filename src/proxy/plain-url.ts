/** A URL as it is shown: what stands before its host or after its path may be a secret. */
export function plainUrl(url: string): string {
  if (!URL.canParse(url)) return '(no URL)';
  const { origin, pathname } = new URL(url);
  return `${origin}${pathname}`;
}
