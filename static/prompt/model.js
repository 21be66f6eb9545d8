export async function openPrompt(sessionId) {}
