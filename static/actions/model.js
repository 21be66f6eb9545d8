export async function openActions(sessionId) {}
