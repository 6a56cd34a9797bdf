// What CloudFront refuses by itself, as problem details (RFC 9457), before API Gateway and a function are paid for.
// It lets nobody in: who passes here is still asked for a valid token. JavaScript runtime 2.0.

var MOST = {'/v1/classify': 4194304, '/getPrediction': 5600000};

function problem(id, status, name, title, detail, headers) {
    headers['content-type'] = {value: 'application/problem+json'};
    headers['cache-control'] = {value: 'no-store'};
    return {
        statusCode: status,
        statusDescription: title,
        headers: headers,
        body: JSON.stringify({type: '/docs#' + name, title: title, status: status, detail: detail, instance: 'urn:request:' + id})
    };
}

function unsigned(id, detail) {
    return problem(id, 401, 'NotSignedIn', 'Unauthorized', detail, {'www-authenticate': {value: 'Bearer'}});
}

function handler(event) {
    var request = event.request, given = request.headers.authorization, size = request.headers['content-length'];
    var id = event.context.requestId;
    if (!given) {
        return unsigned(id, 'send a token: Authorization: Bearer ...');
    }
    try {
        var parts = given.value.replace(/^Bearer /i, '').split('.');
        var claims = JSON.parse(Buffer.from(parts[1], 'base64url').toString());
        if (parts.length !== 3 || !(claims.exp * 1000 > Date.now())) {
            return unsigned(id, 'the token has expired: sign in again');
        }
    } catch (error) {
        return unsigned(id, 'this is no token');
    }
    if (size && Number(size.value) > MOST[request.uri]) {
        return problem(id, 413, 'BodyTooLarge', 'Content Too Large',
            'this route takes pictures of up to 4 MiB; POST /v1/uploads takes up to 10 MB', {});
    }
    return request;
}
