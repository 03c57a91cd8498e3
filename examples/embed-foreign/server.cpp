// A server on a Unix socket. A request is up to 255 bytes; the answer is one byte. Requests are served
// one after the other, each on a connection of its own. "set" with a key of two digits that are the same
// kills it: the planted bug.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace {

char serve(const unsigned char *request, ssize_t size) {
  if (size < 1) return 'e';
  if (request[0] == 'g') return size > 1 ? 'v' : 'e';
  if (request[0] != 's') return '?';
  if (size < 5 || request[1] != 'e') return 'e';
  if (request[2] != 't') return 'e';
  if (request[3] == request[4]) abort();
  return 'k';
}

}  // namespace

int main(int argc, char **argv) {
  if (argc != 2) return fprintf(stderr, "usage: server SOCKET\n"), 2;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  snprintf(address.sun_path, sizeof address.sun_path, "%s", argv[1]);
  unlink(argv[1]);
  int listener = socket(AF_UNIX, SOCK_STREAM, 0);
  if (bind(listener, reinterpret_cast<sockaddr *>(&address), sizeof address) || listen(listener, 16)) {
    return perror("server"), 1;
  }
  for (;;) {
    int client = accept(listener, nullptr, nullptr);
    if (client < 0) continue;
    unsigned char request[255];
    char answer = serve(request, read(client, request, sizeof request));
    if (write(client, &answer, 1) != 1) perror("server");
    close(client);
  }
}
