/* Name resolution that takes as many seconds as NAMES_TAKE says, under a lock, as parts of the C library's own are. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found)
{
    int (*resolve)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

    resolve = dlsym(RTLD_NEXT, "getaddrinfo");
    pthread_mutex_lock(&lock);
    usleep(1e6 * atof(getenv("NAMES_TAKE")));
    pthread_mutex_unlock(&lock);
    return resolve(node, service, hints, found);
}
