export async function openConversation(sessionId, messageId) {}
