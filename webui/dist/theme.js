// Sets the chosen theme before anything is painted, so that the page never flashes.
try {
  const theme = JSON.parse(localStorage.getItem('zbus.settings') || '{}').theme;
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
} catch {
  // No storage, or not ours: the system's theme is used.
}
