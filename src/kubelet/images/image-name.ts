const domain =
  /(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[0-9a-fA-F:]+\])(?::\d+)?/;
const part = /[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*/;
const form = new RegExp(
  `^(?:${domain.source}/)?${part.source}(?:/${part.source})*(?::(?<tag>\\w[\\w.-]{0,127}))?(?:@(?<digest>[a-zA-Z][a-zA-Z0-9]*(?:[+._-][a-zA-Z][a-zA-Z0-9]*)*:[0-9a-fA-F]{32,}))?$`,
);

const longestName = 4096;

/** The name with `:latest` where it has neither tag nor digest; undefined where it is no name of an image (Kubernetes: Images). */
export function normalImageName(name: string): string | undefined {
  const found = name.length > longestName ? null : form.exec(name);
  if (found === null) return undefined;
  const { tag, digest } = found.groups ?? {};
  return tag === undefined && digest === undefined ? `${name}:latest` : name;
}
