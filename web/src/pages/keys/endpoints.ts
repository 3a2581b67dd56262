/** What a key may be let call, by the names the API gives its operations. */
export const ENDPOINTS = [
  "chat_completions",
  "completions",
  "responses",
  "messages",
  "count_tokens",
  "generate_content",
  "embeddings",
  "moderations",
  "rerank",
  "images",
  "audio",
  "models",
] as const;
