/** Events about the node itself; neither waits nor throws. */
export interface NodeEvents {
  tell(type: 'Normal' | 'Warning', reason: string, message: string): void;
}
