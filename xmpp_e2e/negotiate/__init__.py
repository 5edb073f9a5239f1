"""May two clients talk, and how: Jingle's elements, the common ground, and the digest over both halves (XEP-0166).

``jingle`` makes values of elements and elements of values, ``digest`` says what of them must not be altered on the way, and
``negotiation`` holds both halves. Enters: the peer's <jingle/>, our certificate's digest and methods. Leaves: our <jingle/>,
the agreed bytestream, the digest of the certificate that the peer announced, ``neg``. May import only errors, types and
encoding.
"""
