package main

// keepFilesPrivate does nothing: on Windows a file inherits the permissions of its directory.
func keepFilesPrivate() {}
