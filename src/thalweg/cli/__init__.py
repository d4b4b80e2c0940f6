"""The command line: words in, one public function, words out."""
